"""Carries a `ServiceError` through gRPC and back.

The wire form is the standard one: `google.rpc.Status` with `ErrorInfo`, and
`RetryInfo` where the error says when to retry.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Final, NoReturn

import grpc
import structlog
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from service_kit.errors import ErrorCode, ServiceError
from service_kit.grpc_wrapping import Context, WrappingInterceptor

log = structlog.get_logger(__name__)

# Percent-encoded in one trailer and base64 in the other, both still fit.
MAX_MESSAGE_CHARACTERS: Final = 300
MAX_METADATA_BYTES: Final = 2000

# What gRPC itself says names addresses and internals; callers get these words instead.
_PLAIN_WORDS: Final = {
    ErrorCode.UNAVAILABLE: "A service that this needs is not available at the moment.",
    ErrorCode.DEADLINE_EXCEEDED: "The call took longer than its deadline allows.",
    ErrorCode.CANCELLED: "The call was cancelled.",
    ErrorCode.RESOURCE_EXHAUSTED: "The message is too large.",
}


def to_status(error: ServiceError, *, domain: str) -> status_pb2.Status:
    """Describe an error in the form that travels in the RPC's trailer.

    A trailer is limited to 8 KB, so a very long message or metadata is cut short.
    """
    code = grpc.StatusCode[error.code]
    status = status_pb2.Status(code=code.value[0], message=error.message[:MAX_MESSAGE_CHARACTERS])
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(
            reason=error.reason, domain=domain, metadata=_fitting(error.metadata)
        )
    )
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromTimedelta(error.retry_after)
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return status


def _fitting(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return as many of the pairs as fit, in order."""
    kept, left = {}, MAX_METADATA_BYTES
    for key, value in metadata.items():
        left -= len(f"{key}{value}".encode())
        if left < 0:
            break
        kept[key] = value
    return kept


def from_rpc_error(error: grpc.aio.AioRpcError) -> ServiceError:
    """Rebuild the error that the other service raised.

    An error that gRPC raised by itself (nobody listens, no time left) gets its
    code as the reason and a sentence that names no address.
    """
    code = ErrorCode.__members__.get(error.code().name, ErrorCode.INTERNAL)
    status = _status_of(error)
    if status is None:
        restored = ServiceError(_PLAIN_WORDS.get(code, "The call failed."))
        restored.code = code
        restored.reason = code
        if code is ErrorCode.UNAVAILABLE:
            restored.retry_after = timedelta(seconds=1)
        return restored
    restored = ServiceError(status.message)
    restored.code = code
    restored.reason = code
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo()
            detail.Unpack(info)
            restored.reason = info.reason
            restored.metadata = dict(info.metadata)
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo()
            detail.Unpack(retry)
            restored.retry_after = retry.retry_delay.ToTimedelta()
    return restored


def _status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    try:
        status: status_pb2.Status | None = rpc_status.from_call(error)
    except ValueError:
        # The trailer contradicts the status line: believe the line.
        return None
    return status


@contextmanager
def rpc_errors() -> Iterator[None]:
    """Raise `ServiceError` where the stub would raise `AioRpcError`."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error


async def abort_with(context: Context, error: ServiceError, *, domain: str) -> NoReturn:
    """End the call with this error."""
    status = to_status(error, domain=domain)
    # grpc.aio has no public abort_with_status; the trailer is what it would set.
    await context.abort(
        grpc.StatusCode[error.code],
        status.message,
        trailing_metadata=(("grpc-status-details-bin", status.SerializeToString()),),
    )


@asynccontextmanager
async def answering_errors(method: str, context: Context, *, domain: str) -> AsyncIterator[None]:
    """End the call with what the block raises; a bug as `INTERNAL`, its words in our log only."""
    try:
        yield
    except grpc.aio.AbortError:
        raise
    except ServiceError as error:
        await abort_with(context, error, domain=domain)
    except Exception as error:
        log.error("rpc.unexpected_error", method=method, exc_info=error)
        await abort_with(context, ServiceError("Internal error."), domain=domain)


class ErrorInterceptor(WrappingInterceptor):
    """Turns what a handler raises into the status that the caller sees.

    `grpc_server.serving` does so by itself; this is for a server without it.

    Args:
        domain: Where the errors come from, for the `domain` of `ErrorInfo`: "job.weir".
    """

    def __init__(self, domain: str) -> None:
        super().__init__()
        self._domain = domain

    def around(self, method: str, context: Context) -> AbstractAsyncContextManager[None]:
        return answering_errors(method, context, domain=self._domain)
