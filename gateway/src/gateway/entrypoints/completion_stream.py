"""Streams a chat completion as server-sent events."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

import structlog
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send
from weir.job.v1 import job_service_pb2 as pb

from gateway.adapters.job_client import JobClient
from gateway.entrypoints.completion import Completion
from gateway.entrypoints.disconnection import until_disconnect
from gateway.entrypoints.error_responses import openai_error
from service_kit.errors import ServiceError

log = structlog.get_logger(__name__)

# A decision is often followed at once by a refusal (no capacity), which is better told as a
# status. The head waits so long for the job to start.
START_GRACE_SECONDS: Final = 0.5
_KEEP_ALIVE: Final = b": keep-alive\n\n"
_DONE: Final = b"data: [DONE]\n\n"


class CompletionStream(Response):
    """Runs a job and streams its answer.

    The status is sent once the decision is known, so what fails before has a
    status of its own. `[DONE]` is sent once the result and its charge are
    durable. A client that leaves cancels the job.
    """

    def __init__(
        self,
        jobs: JobClient,
        request: pb.RunJobRequest,
        *,
        timeout_seconds: float,
        keep_alive_seconds: float,
        include_usage: bool,
    ) -> None:
        super().__init__(media_type="text/event-stream")
        self._jobs = jobs
        self._request = request
        self._timeout_seconds = timeout_seconds
        self._keep_alive_seconds = keep_alive_seconds
        self._include_usage = include_usage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await until_disconnect(receive, self._run(scope, receive, send))

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        completion = Completion(self._request.specification.model)
        events = _EventStream(send, completion, self._include_usage)
        error = await self._follow(completion, events)
        if error is None:
            await events.done()
        elif events.begun:
            await events.fail(error)
        else:
            await completion.failure(error)(scope, receive, send)

    async def _follow(self, completion: Completion, events: _EventStream) -> ServiceError | None:
        """Pass the job's events on until it has ended; return what went wrong, if anything."""
        async with asyncio.TaskGroup() as tasks:
            keeper = tasks.create_task(events.keep_alive(self._keep_alive_seconds))
            try:
                async with self._jobs.run_job(self._request, self._timeout_seconds) as running:
                    await completion.follow(running, events.tell)
            except ServiceError as error:
                return error
            finally:
                keeper.cancel()
        return None


class _EventStream:
    """The response under way. Two tasks write to it, never at once."""

    def __init__(self, send: Send, completion: Completion, include_usage: bool) -> None:
        self.begun = False
        self._send = send
        self._completion = completion
        self._include_usage = include_usage
        self._decided = asyncio.Event()
        self._writing = asyncio.Lock()
        self._told_role = False
        self._told_text = False
        self._last_write = 0.0

    async def tell(self, event: pb.RunJobResponse) -> None:
        """Send what an event adds to the stream."""
        match event.WhichOneof("event"):
            case "decision":
                self._decided.set()
            case "started":
                await self._tell_role()
            case "delta":
                await self._tell_text(event.delta.text)
            case "finished":
                await self._tell_end()

    async def keep_alive(self, every_seconds: float) -> None:
        """Begin the response soon after the decision, and never let it be silent for long."""
        await self._decided.wait()
        await asyncio.sleep(START_GRACE_SECONDS)
        if not self.begun:
            await self._write(b"")
        loop = asyncio.get_running_loop()
        while True:
            silent = loop.time() - self._last_write
            if silent >= every_seconds:
                await self._write(_KEEP_ALIVE)
                silent = 0.0
            await asyncio.sleep(every_seconds - silent)

    async def done(self) -> None:
        """End a stream that told everything."""
        await self._write(_DONE, more=False)

    async def fail(self, error: ServiceError) -> None:
        """End the stream with an error, and without `[DONE]`."""
        log.warning("completion.failed_midway", reason=error.reason)
        await self._write(_event(openai_error(error)), more=False)

    async def _tell_role(self) -> None:
        if not self._told_role:
            self._told_role = True
            await self._tell(self._completion.chunk({"role": "assistant", "content": ""}))

    async def _tell_text(self, text: str) -> None:
        if text:
            await self._tell_role()
            self._told_text = True
            await self._tell(self._completion.chunk({"content": text}))

    async def _tell_end(self) -> None:
        completion = self._completion
        await self._tell_role()
        if not self._told_text:
            # A replay of an earlier request comes without deltas.
            await self._tell_text(completion.text)
        end = completion.chunk({}, completion.finish_reason)
        if self._include_usage:
            await self._tell(end)
            last = completion.usage_chunk()
        else:
            last = end
        await self._write(_event({**last, "weir": completion.weir()}))

    async def _tell(self, chunk: dict[str, Any]) -> None:
        if self._include_usage:
            chunk = {**chunk, "usage": None}
        await self._write(_event(chunk))

    async def _write(self, body: bytes, *, more: bool = True) -> None:
        async with self._writing:
            if not self.begun:
                self.begun = True
                await self._send(self._head())
            self._last_write = asyncio.get_running_loop().time()
            await self._send({"type": "http.response.body", "body": body, "more_body": more})

    def _head(self) -> Message:
        headers = {
            "content-type": "text/event-stream; charset=utf-8",
            # Proxies must not collect it.
            "x-accel-buffering": "no",
            **self._completion.headers(),
        }
        return {
            "type": "http.response.start",
            "status": 200,
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }


def _event(content: object) -> bytes:
    return b"data: " + json.dumps(content, separators=(",", ":")).encode() + b"\n\n"
