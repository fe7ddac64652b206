"""Streams an answer as server-sent events."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final, Protocol

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from weir.job.v1 import job_service_pb2 as pb

from gateway.adapters.job_client import JobClient
from gateway.entrypoints.answer import Answer
from gateway.entrypoints.disconnection import until_disconnect
from gateway.entrypoints.error_responses import openai_error
from gateway.entrypoints.sse import SseWriter
from service_kit.errors import ServiceError

log = structlog.get_logger(__name__)

# A decision is often followed at once by a refusal (no capacity), which is better told as a
# status. The head waits so long for the job to start.
START_GRACE_SECONDS: Final = 0.5
_DONE: Final = b"data: [DONE]\n\n"


class StreamShape(Protocol):
    """How a route writes down the pieces of an answer."""

    def opening(self, answer: Answer, /) -> dict[str, Any] | None:
        """Return the piece before all text, if there is one."""
        ...

    def piece(self, answer: Answer, text: str) -> dict[str, Any]:
        """Return some text of the answer."""
        ...

    def ending(self, answer: Answer) -> dict[str, Any]:
        """Return the piece after all text, with the reason why it ends."""
        ...


class AnswerStream(Response):
    """Runs a job and streams its answer.

    The status is sent once the decision is known, so what fails before has a
    status of its own. `[DONE]` is sent once the result and its charge are
    durable. A client that leaves cancels the job.
    """

    def __init__(
        self,
        jobs: JobClient,
        request: pb.RunJobRequest,
        shape: StreamShape,
        *,
        timeout_seconds: float,
        keep_alive_seconds: float,
        include_usage: bool,
    ) -> None:
        super().__init__(media_type="text/event-stream")
        self._jobs = jobs
        self._request = request
        self._shape = shape
        self._timeout_seconds = timeout_seconds
        self._keep_alive_seconds = keep_alive_seconds
        self._include_usage = include_usage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await until_disconnect(receive, self._run(scope, receive, send))

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = Answer(self._request.specification.model)
        writer = SseWriter(send, answer.headers)
        pieces = _Pieces(writer, answer, self._shape, self._include_usage)
        error = await self._follow(answer, writer, pieces)
        if error is None:
            await writer.write(_DONE, more=False)
        elif writer.begun:
            log.warning("answer.failed_midway", reason=error.reason)
            # Without `[DONE]`: it is not complete.
            await writer.write(_event(openai_error(error)), more=False)
        else:
            await answer.failure(error)(scope, receive, send)

    async def _follow(
        self, answer: Answer, writer: SseWriter, pieces: _Pieces
    ) -> ServiceError | None:
        """Pass the job's events on until it has ended; return what went wrong, if anything."""

        async def begin_and_keep_alive() -> None:
            await pieces.decided.wait()
            await asyncio.sleep(START_GRACE_SECONDS)
            await writer.keep_alive(self._keep_alive_seconds)

        async with asyncio.TaskGroup() as tasks:
            keeper = tasks.create_task(begin_and_keep_alive())
            try:
                async with self._jobs.run_job(self._request, self._timeout_seconds) as running:
                    await answer.follow(running, pieces.tell)
            except ServiceError as error:
                return error
            finally:
                keeper.cancel()
        return None


class _Pieces:
    """Writes what each event of the job adds to the stream."""

    def __init__(
        self, writer: SseWriter, answer: Answer, shape: StreamShape, include_usage: bool
    ) -> None:
        self.decided = asyncio.Event()
        self._writer = writer
        self._answer = answer
        self._shape = shape
        self._include_usage = include_usage
        self._opened = False
        self._told_text = False

    async def tell(self, event: pb.RunJobResponse) -> None:
        match event.WhichOneof("event"):
            case "decision":
                self.decided.set()
            case "started":
                await self._open()
            case "delta":
                await self._tell_text(event.delta.text)
            case "finished":
                await self._tell_end()

    async def _open(self) -> None:
        if not self._opened:
            self._opened = True
            opening = self._shape.opening(self._answer)
            # Even where there is nothing to say, the head tells that it started.
            await (self._writer.write(b"") if opening is None else self._tell(opening))

    async def _tell_text(self, text: str) -> None:
        if text:
            await self._open()
            self._told_text = True
            await self._tell(self._shape.piece(self._answer, text))

    async def _tell_end(self) -> None:
        await self._open()
        if not self._told_text:
            # A replay of an earlier request comes without deltas.
            await self._tell_text(self._answer.text)
        last = self._shape.ending(self._answer)
        if self._include_usage:
            await self._tell(last)
            last = {**last, "choices": [], "usage": self._answer.usage()}
        await self._writer.write(_event({**last, "weir": self._answer.weir()}))

    async def _tell(self, chunk: dict[str, Any]) -> None:
        if self._include_usage:
            chunk = {**chunk, "usage": None}
        await self._writer.write(_event(chunk))


def _event(content: object) -> bytes:
    return b"data: " + json.dumps(content, separators=(",", ":")).encode() + b"\n\n"
