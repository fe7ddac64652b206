"""What every request passes before its route; plain ASGI, so that cancellation is exact.

From the outside in: `SocketScope` (of sockets alone), `RequestScope`, `AllowedHosts`, CORS
(Starlette's), `BodyGuard`, gzip (Starlette's, which leaves streams alone), routes.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import MutableMapping
from typing import Any, Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.entrypoints.client_address import Network, client_address
from gateway.entrypoints.error_responses import error_response
from gateway.entrypoints.errors import (
    EdgeError,
    body_too_large,
    body_too_slow,
    host_not_allowed,
    unsupported_encoding,
)
from service_kit import request_context
from service_kit.errors import ServiceError
from service_kit.metrics import HttpMetrics

log = structlog.get_logger(__name__)

CLIENT_ADDRESS: Final = "weir.client_address"
RESPONSE_HEADERS: Final = "weir.response_headers"

SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-site"),
)
_API_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
# The page loads its viewer from elsewhere.
_DOCS_HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'self' https: 'unsafe-inline'; img-src https: data:; frame-ancestors 'none'",
    ),
)
_HSTS: Final = ((b"strict-transport-security", b"max-age=31536000"),)
_QUIET_ROUTES: Final = frozenset({"/health/live", "/health/ready", "/metrics"})


def add_response_header(scope: MutableMapping[str, Any], name: str, value: str) -> None:
    """Put a header on the response of this request, whatever the response will be."""
    scope[RESPONSE_HEADERS].append((name.lower().encode(), value.encode("ascii", "replace")))


class RequestScope:
    """Gives each request its id, its log line, its metrics, and an answer if all else fails.

    Args:
        app: What comes next.
        metrics: Counts requests by route template.
        trusted_proxies: Whose X-Forwarded-For is believed.
        production: Tell browsers to come by https only.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: HttpMetrics,
        trusted_proxies: tuple[Network, ...],
        *,
        production: bool,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._trusted_proxies = trusted_proxies
        self._always = SECURITY_HEADERS + (_HSTS if production else ())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = request_context.begin_request(find_header(scope, b"x-request-id"))
        scope[CLIENT_ADDRESS] = client_address(scope, self._trusted_proxies)
        scope[RESPONSE_HEADERS] = []
        status = 0

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = message.get("headers", ())
                named = {name for name, _ in given}
                message["headers"] = [
                    *given,
                    *(one for one in self._headers(scope["path"]) if one[0] not in named),
                    *scope[RESPONSE_HEADERS],
                    (b"x-request-id", request_id.encode()),
                ]
            await send(message)

        try:
            await self._app(scope, receive, send_marked)
        except Exception as error:
            log.error("http.unexpected_error", route=route_template(scope), exc_info=error)
            if status == 0:
                response = error_response(scope["path"], ServiceError("Internal error."))
                await response(scope, receive, send_marked)
            # Else the server sees an unfinished response and closes the connection.
        finally:
            self._finish(scope, status, time.perf_counter() - started)

    def _headers(self, path: str) -> tuple[tuple[bytes, bytes], ...]:
        return self._always + (_DOCS_HEADERS if path == "/docs" else _API_HEADERS)

    def _finish(self, scope: Scope, status: int, seconds: float) -> None:
        route = route_template(scope)
        self._metrics.finished(scope["method"], route, status, seconds)
        write = log.debug if route in _QUIET_ROUTES else log.info
        write(
            "http.request",
            method=scope["method"],
            route=route,
            status=status,
            milliseconds=round(seconds * 1000, 3),
            client=scope[CLIENT_ADDRESS],
        )


class AllowedHosts:
    """Serves only requests for one of our host names.

    Args:
        app: What comes next.
        allowed: Names; `*.example.org` is any name below, `*` any name at all.
    """

    def __init__(self, app: ASGIApp, allowed: tuple[str, ...]) -> None:
        self._app = app
        self._any = "*" in allowed
        self._names = frozenset(name.lower() for name in allowed if not name.startswith("*"))
        self._suffixes = tuple(name[1:].lower() for name in allowed if name.startswith("*."))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._any or self._allows(find_header(scope, b"host") or ""):
            await self._app(scope, receive, send)
            return
        await error_response(scope["path"], host_not_allowed())(scope, receive, send)

    def _allows(self, host: str) -> bool:
        name = host.lower()
        name = name.partition("]")[0][1:] if name.startswith("[") else name.partition(":")[0]
        return name in self._names or (bool(self._suffixes) and name.endswith(self._suffixes))


class BodyGuard:
    """Reads a request's body within its limits of size and time, before anything else does.

    Args:
        app: What comes next.
        max_bytes: The largest body.
        seconds: How long it may take to arrive.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, seconds: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        try:
            body = await self._read(scope, receive)
        except EdgeError as error:
            await self._refuse(scope, receive, send, error)
            return
        if body is not None:
            await self._app(scope, _replaying(body, receive), send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, error: EdgeError) -> None:
        """Answer at once, and throw away what still comes before the connection is closed.

        Closed with unread bytes, it would be reset, and many clients would never see the answer.
        """

        async def send_open(message: Message) -> None:
            await send({**message, "more_body": True} if "body" in message else message)

        await error_response(scope["path"], error)(scope, receive, send_open)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._seconds if error.status != 408 else 0):
                while (await receive()).get("more_body", False):
                    pass
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """Return the body, or `None` if the client left while sending it."""
        if (find_header(scope, b"content-encoding") or "identity") != "identity":
            raise unsupported_encoding()
        announced = find_header(scope, b"content-length") or "0"
        if not announced.isdecimal() or int(announced[:20]) > self._max_bytes:
            raise body_too_large(self._max_bytes)
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    chunk = message.get("body", b"")
                    size += len(chunk)
                    if size > self._max_bytes:
                        raise body_too_large(self._max_bytes)
                    chunks.append(chunk)
                    if not message.get("more_body", False):
                        return b"".join(chunks)
        except TimeoutError as error:
            raise body_too_slow() from error


def _replaying(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body in one piece, and then what really comes."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _has_body(scope: Scope) -> bool:
    for name, value in scope["headers"]:
        if name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
            return True
    return False


def find_header(scope: Scope, wanted: bytes) -> str | None:
    """Return the first header of this name, which is in lower case."""
    for name, value in scope["headers"]:
        if name == wanted:
            text: str = value.decode("latin-1")
            return text
    return None


def route_template(scope: Scope) -> str | None:
    """Return the template of the route that matched, such as `/jobs/{job_id}`."""
    route = scope.get("route")
    return getattr(route, "path", None)
