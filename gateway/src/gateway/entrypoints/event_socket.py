"""The events of a job as messages of a WebSocket."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway.entrypoints.disconnection import first_of
from gateway.entrypoints.error_responses import error_response, http_status
from gateway.entrypoints.job_events import JobEvent
from gateway.entrypoints.job_watch import HEAD_GRACE_SECONDS, JobWatch
from gateway.entrypoints.socket_credentials import PROTOCOL
from service_kit.errors import ServiceError

log = structlog.get_logger(__name__)

NORMAL: Final = 1000
NOTHING_IS_READ: Final = 1003
INTERNAL_ERROR: Final = 1011
RESTART: Final = 1012
TRY_LATER: Final = 1013
# By the HTTP status that says the same; 4xxx is the range for applications.
_CODE_BY_STATUS: Final = {
    400: 4400,
    401: 4401,
    403: 4403,
    404: 4404,
    503: TRY_LATER,
    504: TRY_LATER,
}


@dataclass(frozen=True, slots=True)
class Closing:
    """How a socket is closed; the reason is one code for programs."""

    code: int
    reason: str = ""


LEFT: Final = Closing(0)
"""The client closed it."""


def closing_for(error: ServiceError | None) -> Closing:
    """Return how a socket ends after its last event, or because of an error."""
    if error is None:
        return Closing(NORMAL, "ENDED")
    if error.reason == "DRAINING":
        return Closing(RESTART, error.reason)
    return Closing(_CODE_BY_STATUS.get(http_status(error), INTERNAL_ERROR), error.reason)


class JobEventSocket:
    """Sends a job's events until the last one, or until the client leaves.

    It is accepted with the first event, or soon; what is refused before is an
    HTTP answer with a status. Nothing is read: a client that sends is closed.
    """

    def __init__(self, websocket: WebSocket, watch: JobWatch) -> None:
        self._websocket = websocket
        self._watch = watch
        self._accepted = False
        self._accepting = asyncio.Lock()

    async def run(self) -> None:
        # The request to connect; only after it comes what a client sends, or that it left.
        await self._websocket.receive()
        closing = await first_of(self._follow(), self._until_client_speaks())
        if closing is LEFT:
            return
        with suppress(WebSocketDisconnect):
            await self._websocket.close(closing.code, closing.reason)

    async def _follow(self) -> Closing:
        async with asyncio.TaskGroup() as tasks:
            accepting = tasks.create_task(self._accept_soon())
            try:
                error = await self._watch.follow(self._tell)
            finally:
                accepting.cancel()
        if error is not None and not self._accepted:
            websocket = self._websocket
            response = error_response(websocket.scope["path"], error)
            await response(websocket.scope, websocket.receive, websocket.send)
            return LEFT
        await self._accept()
        if error is not None:
            log.info("events.interrupted", reason=error.reason)
        return closing_for(error)

    async def _tell(self, event: JobEvent) -> None:
        await self._accept()
        try:
            await self._websocket.send_text(event.as_message())
        except WebSocketDisconnect:
            await _until_cancelled()

    async def _accept_soon(self) -> None:
        await asyncio.sleep(HEAD_GRACE_SECONDS)
        await self._accept()

    async def _accept(self) -> None:
        async with self._accepting:
            if not self._accepted:
                self._accepted = True
                offered = self._websocket.scope["subprotocols"]
                try:
                    await self._websocket.accept(PROTOCOL if PROTOCOL in offered else None)
                except OSError:
                    await _until_cancelled()

    async def _until_client_speaks(self) -> Closing:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            return LEFT
        return Closing(NOTHING_IS_READ, "NOTHING_IS_READ")


async def _until_cancelled() -> None:
    """Wait for the end that `_until_client_speaks` brings, which learns as well that it left."""
    await asyncio.Event().wait()
