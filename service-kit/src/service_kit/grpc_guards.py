"""What a call passes before its handler: request id, metrics, deadline, caller, token."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Final

import grpc

from service_kit import request_context
from service_kit.errors import CallerNotAllowed, DeadlineExceeded, Unauthenticated
from service_kit.grpc_errors import answering_errors
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
_SPIFFE: Final = re.compile(rb"spiffe://weir/([a-z][a-z0-9-]{0,62})(?:/([A-Za-z0-9._-]{1,64}))?")
_CODES: Final = {code.value[0]: code.name for code in grpc.StatusCode}


class CallerRule:
    """Lets in the services that an RPC service is open to, and nobody where none are named.

    Args:
        allowed: RPC service -> names of the services that may call it.
    """

    def __init__(self, allowed: Mapping[str, Collection[str]]) -> None:
        self._allowed = {name: frozenset(callers) for name, callers in allowed.items()}

    def admit(self, rpc_service: str, context: Context) -> None:
        """Note who calls, as the `request_context.peer()`.

        Raises:
            CallerNotAllowed: The certificate is not that of a service that may call this.
        """
        peer = _peer_of(context)
        if rpc_service not in OPEN_SERVICES and (
            peer is None or peer.service not in self._allowed.get(rpc_service, ())
        ):
            raise CallerNotAllowed(rpc_service)
        request_context.current_peer.set(peer)


class TokenRule:
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

    async def admit(self, rpc_service: str, method: str, metadata: Mapping[str, str]) -> None:
        """Note who the token speaks for, where one is needed.

        Raises:
            Unauthenticated: There is no token, or it is refused.
            Unavailable: Tokens can't be verified at the moment.
        """
        verifier = self._verifiers.get(rpc_service)
        if verifier is not None and method not in self._unauthenticated:
            token = bearer_token(metadata.get("authorization"))
            request_context.current_caller.set(await verifier.verify(token))


class CallInterceptor(WrappingInterceptor):
    """Puts every call through all of it, in the order in which `grpc_server` promises it."""

    def __init__(
        self, *, domain: str, metrics: GrpcMetrics, callers: CallerRule, tokens: TokenRule
    ) -> None:
        super().__init__()
        self._domain = domain
        self._metrics = metrics
        self._callers = callers
        self._tokens = tokens

    @asynccontextmanager
    async def around(self, method: str, context: Context) -> AsyncIterator[None]:
        metadata = _read_metadata(context)
        request_context.begin_request(
            metadata.get("x-request-id"), seconds=context.time_remaining()
        )
        rpc_service = method[1:].rpartition("/")[0]
        started, code = time.perf_counter(), "UNKNOWN"
        self._metrics.started(method)
        try:
            async with answering_errors(method, context, domain=self._domain), _deadline():
                self._callers.admit(rpc_service, context)
                await self._tokens.admit(rpc_service, method, metadata)
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


@asynccontextmanager
async def _deadline() -> AsyncIterator[None]:
    """End the work shortly before the caller stops waiting, so that it learns why."""
    limit = asyncio.timeout(request_context.remaining_seconds())
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if limit.expired():
            raise DeadlineExceeded() from error
        raise


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


def _read_metadata(context: Context) -> dict[str, str]:
    """Return the metadata; a key that was sent twice counts as not sent."""
    found: dict[str, str] = {}
    repeated = set()
    for key, value in context.invocation_metadata() or ():
        if key in found:
            repeated.add(key)
        if isinstance(value, str):
            found[key] = value
    for key in repeated:
        del found[key]
    return found


def _peer_of(context: Context) -> Peer | None:
    sans = context.auth_context().get("x509_subject_alternative_name", ())
    uris = [san for san in sans if b"://" in san]
    match = _SPIFFE.fullmatch(uris[0]) if len(uris) == 1 else None
    return None if match is None else Peer(match[1].decode(), (match[2] or b"").decode())


def _code_of(context: Context) -> str:
    code: object = context.code()
    if isinstance(code, grpc.StatusCode):
        return code.name
    return _CODES.get(code, "UNKNOWN") if isinstance(code, int) else "OK"
