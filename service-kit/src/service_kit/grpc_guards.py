"""What a call passes before its handler: request id, metrics, deadline, caller, token."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Final

import grpc
import structlog

from service_kit import request_context
from service_kit.errors import CallerNotAllowed, DeadlineExceeded, Unauthenticated
from service_kit.grpc_wrapping import Context, WrappingInterceptor
from service_kit.metrics import GrpcMetrics
from service_kit.request_context import Peer
from service_kit.tokens import TokenVerifier

# Open to every holder of one of our certificates.
OPEN_SERVICES: Final = frozenset(
    {
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "grpc.reflection.v1.ServerReflection",
    }
)
_SPIFFE: Final = re.compile(r"spiffe://weir/([a-z][a-z0-9-]{0,62})(?:/([A-Za-z0-9._-]{1,64}))?")
_CODES: Final = {code.value[0]: code.name for code in grpc.StatusCode}


def service_of(method: str) -> str:
    """Return the RPC service in a full method name: "/a.v1.B/C" -> "a.v1.B"."""
    return method[1:].rpartition("/")[0]


class RequestInterceptor(WrappingInterceptor):
    """Gives the call its request id and deadline, in `request_context` and in logs."""

    @asynccontextmanager
    async def around(self, method: str, context: Context) -> AsyncIterator[None]:
        offered = _metadata_value(context, "x-request-id")
        request_context.begin_request(offered, seconds=context.time_remaining())
        structlog.contextvars.bind_contextvars(rpc=method)
        yield


class MetricsInterceptor(WrappingInterceptor):
    """Counts every call by its outcome, refused ones too."""

    def __init__(self, metrics: GrpcMetrics) -> None:
        self._metrics = metrics

    @asynccontextmanager
    async def around(self, method: str, context: Context) -> AsyncIterator[None]:
        started = time.perf_counter()
        code = "UNKNOWN"
        try:
            yield
            code = _code_of(context)
        except (asyncio.CancelledError, GeneratorExit):
            code = "CANCELLED"
            raise
        except grpc.aio.AbortError:
            code = _code_of(context)
            raise
        finally:
            self._metrics.finished(method, code, time.perf_counter() - started)


class DeadlineInterceptor(WrappingInterceptor):
    """Ends the work shortly before the caller stops waiting, so that it learns why."""

    @asynccontextmanager
    async def around(self, _method: str, _context: Context) -> AsyncIterator[None]:
        limit = asyncio.timeout(request_context.remaining_seconds())
        try:
            async with limit:
                yield
        except TimeoutError as error:
            if limit.expired():
                raise DeadlineExceeded() from error
            raise


class CallerInterceptor(WrappingInterceptor):
    """Lets in the services that an RPC service is open to, and nobody where none are named.

    Args:
        allowed: RPC service -> names of the services that may call it.
    """

    def __init__(self, allowed: Mapping[str, Collection[str]]) -> None:
        self._allowed = {name: frozenset(callers) for name, callers in allowed.items()}

    @asynccontextmanager
    async def around(self, method: str, context: Context) -> AsyncIterator[None]:
        rpc_service = service_of(method)
        peer = _peer_of(context)
        if rpc_service not in OPEN_SERVICES and (
            peer is None or peer.service not in self._allowed.get(rpc_service, ())
        ):
            raise CallerNotAllowed(rpc_service)
        request_context.current_peer.set(peer)
        yield


class TokenInterceptor(WrappingInterceptor):
    """Verifies the user's token and makes its holder the `request_context.caller()`.

    Args:
        verifiers: RPC service -> who verifies its tokens. Services not named need none.
        unauthenticated: Full names of methods that need none either.
    """

    def __init__(
        self, verifiers: Mapping[str, TokenVerifier], unauthenticated: Collection[str]
    ) -> None:
        self._verifiers = dict(verifiers)
        self._unauthenticated = frozenset(unauthenticated)

    @asynccontextmanager
    async def around(self, method: str, context: Context) -> AsyncIterator[None]:
        verifier = self._verifiers.get(service_of(method))
        if verifier is not None and method not in self._unauthenticated:
            token = bearer_token(_metadata_value(context, "authorization"))
            request_context.current_caller.set(await verifier.verify(token))
        yield


def bearer_token(authorization: str | None) -> str:
    """Return the token in an `Authorization` value.

    Raises:
        Unauthenticated: There is none (`TOKEN_MISSING`), or another scheme (`TOKEN_INVALID`).
    """
    if not authorization:
        raise Unauthenticated("TOKEN_MISSING", "This needs a token.")
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("TOKEN_INVALID", "The authorization is not a bearer token.")
    return token


def _metadata_value(context: Context, key: str) -> str | None:
    """Return the value of a key that was sent exactly once."""
    found = [value for name, value in context.invocation_metadata() or () if name == key]
    return found[0] if len(found) == 1 and isinstance(found[0], str) else None


def _peer_of(context: Context) -> Peer | None:
    sans = context.auth_context().get("x509_subject_alternative_name", ())
    uris = [san for san in sans if b"://" in san]
    if len(uris) != 1:
        return None
    match = _SPIFFE.fullmatch(uris[0].decode("ascii", "replace"))
    return None if match is None else Peer(match[1], match[2] or "")


def _code_of(context: Context) -> str:
    code: object = context.code()
    if isinstance(code, grpc.StatusCode):
        return code.name
    return _CODES.get(code, "UNKNOWN") if isinstance(code, int) else "OK"
