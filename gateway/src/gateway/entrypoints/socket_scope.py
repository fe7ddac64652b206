"""What every WebSocket passes before its route."""

from __future__ import annotations

import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.entrypoints.client_address import Network, client_address
from gateway.entrypoints.error_responses import error_response
from gateway.entrypoints.errors import socket_not_found
from gateway.entrypoints.middleware import (
    CLIENT_ADDRESS,
    RESPONSE_HEADERS,
    SECURITY_HEADERS,
    find_header,
    route_template,
)
from gateway.entrypoints.socket_metrics import SocketMetrics
from service_kit import request_context
from service_kit.errors import ServiceError

log = structlog.get_logger(__name__)

_INTERNAL_ERROR = 1011


class SocketScope:
    """Gives each socket its request id, its log line, its metrics, and an end if all else fails.

    Args:
        app: What comes next; what is no socket goes there unchanged.
        metrics: Counts sockets and messages.
        trusted_proxies: Whose X-Forwarded-For is believed.
    """

    def __init__(
        self, app: ASGIApp, metrics: SocketMetrics, trusted_proxies: tuple[Network, ...]
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._trusted_proxies = trusted_proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        request_id = request_context.begin_request(find_header(scope, b"x-request-id"))
        scope[CLIENT_ADDRESS] = client_address(scope, self._trusted_proxies)
        scope[RESPONSE_HEADERS] = []
        socket = _Socket(scope, receive, send, self._metrics, request_id)
        started = time.perf_counter()
        try:
            await self._app(scope, receive, socket.send)
        except Exception as error:
            log.error("socket.unexpected_error", route=route_template(scope), exc_info=error)
            await socket.fail()
        finally:
            socket.finished()
            log.info(
                "socket.closed",
                route=route_template(scope),
                status=socket.status,
                close_code=socket.close_code,
                messages=socket.messages,
                milliseconds=round((time.perf_counter() - started) * 1000, 3),
                client=scope[CLIENT_ADDRESS],
            )


class _Socket:
    """One socket, seen from the side of what is sent on it."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, metrics: SocketMetrics, request_id: str
    ) -> None:
        self.status = 0
        self.close_code: int | None = None
        self.messages = 0
        self._scope = scope
        self._receive = receive
        self._send = send
        self._metrics = metrics
        self._request_id = request_id
        self._accepted = False

    async def send(self, message: Message) -> None:
        match message["type"]:
            case "websocket.accept":
                self._accepted, self.status = True, 101
                self._metrics.accepted()
                message["headers"] = [*message.get("headers", ()), *self._headers()]
            case "websocket.http.response.start":
                self.status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    *SECURITY_HEADERS,
                    (b"cache-control", b"no-store"),
                    *self._headers(),
                ]
            case "websocket.send":
                self.messages += 1
                text = message.get("text")
                self._metrics.sent(len(message["bytes"] if text is None else text.encode()))
            case "websocket.close" if not self._accepted:
                # The framework found no route. Of itself this would be a 403 without a word.
                await self._refuse(socket_not_found())
                return
            case "websocket.close":
                self.close_code = message.get("code", 1000)
        await self._send(message)

    async def fail(self) -> None:
        """End it after a bug, if that is still possible."""
        if self.close_code is not None:
            return
        if self._accepted:
            await self.send({"type": "websocket.close", "code": _INTERNAL_ERROR})
        elif not self.status:
            await self._refuse(ServiceError("Internal error."))

    def finished(self) -> None:
        """Count it, once it is over."""
        if self._accepted:
            self._metrics.closed()
        else:
            self._metrics.refused()

    async def _refuse(self, error: ServiceError) -> None:
        if "websocket.http.response" in self._scope.get("extensions", {}):
            await error_response(self._scope["path"], error)(self._scope, self._receive, self.send)
        else:
            await self._send({"type": "websocket.close", "reason": error.reason})

    def _headers(self) -> list[tuple[bytes, bytes]]:
        return [*self._scope[RESPONSE_HEADERS], (b"x-request-id", self._request_id.encode())]
