"""The events of a job as server-sent events."""

from __future__ import annotations

import asyncio

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.entrypoints.disconnection import until_disconnect
from gateway.entrypoints.error_responses import error_response
from gateway.entrypoints.job_events import JobEvent
from gateway.entrypoints.job_watch import HEAD_GRACE_SECONDS, JobWatch
from gateway.entrypoints.sse import SseWriter
from service_kit.errors import ServiceError

log = structlog.get_logger(__name__)


class JobEventSource(Response):
    """Streams a job's events until the last one, or until the client leaves.

    What is refused before the first event has a status of its own. A stream
    that ends without `ended` is one to resume; where nothing is left to tell,
    the status is 204, which tells a browser not to come back.
    """

    def __init__(self, watch: JobWatch, keep_alive_seconds: float) -> None:
        super().__init__(media_type="text/event-stream")
        self._watch = watch
        self._keep_alive_seconds = keep_alive_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await until_disconnect(receive, self._run(scope, receive, send))

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        writer = SseWriter(send, dict)
        error = await self._follow(writer)
        if writer.begun:
            if error is not None:
                log.info("events.interrupted", reason=error.reason)
            await writer.end()
        elif error is not None:
            await error_response(scope["path"], error)(scope, receive, send)
        else:
            await Response(status_code=204)(scope, receive, send)

    async def _follow(self, writer: SseWriter) -> ServiceError | None:
        async def begin_and_keep_alive() -> None:
            await asyncio.sleep(HEAD_GRACE_SECONDS)
            await writer.keep_alive(self._keep_alive_seconds)

        async def tell(event: JobEvent) -> None:
            await writer.write(event.as_sse())

        async with asyncio.TaskGroup() as tasks:
            keeper = tasks.create_task(begin_and_keep_alive())
            try:
                return await self._watch.follow(tell)
            finally:
                keeper.cancel()
