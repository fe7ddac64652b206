"""What a caller sees of a job while it happens, for as long as the caller may see it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog
from weir.job.v1 import job_service_pb2 as pb

from gateway.domain.credentials import Credential
from gateway.entrypoints.disconnection import first_of
from gateway.entrypoints.edge import Edge
from gateway.entrypoints.errors import events_ended_early
from gateway.entrypoints.job_events import JobEvent, read_event
from service_kit.errors import ErrorCode, ServiceError, Unauthenticated
from service_kit.request_context import Caller

log = structlog.get_logger(__name__)

RECHECK_SECONDS: Final = 1.0
# As long as verifiers rely on what they know.
UNCHECKED_SECONDS: Final = 15.0
# A refusal comes within this time and is told as a status. A job may be silent for longer.
HEAD_GRACE_SECONDS: Final = 1.0

Tell = Callable[[JobEvent], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class JobWatch:
    """One look at the events of a job.

    `after` is the cursor where it begins, "" for the beginning; `project_id`
    is "" for the caller's own project.
    """

    edge: Edge
    credential: Credential
    caller: Caller
    project_id: str
    job_id: str
    after: str

    async def follow(self, tell: Tell) -> ServiceError | None:
        """Tell event by event, waiting for each to be taken.

        Returns:
            `None` after the last event, else why no more can be told now.
        """
        try:
            with self.edge.event_streams.opened(self.caller.key_id or self.caller.user_id):
                return await first_of(
                    self._tell_all(tell),
                    self._until_refused(),
                    self.edge.event_streams.until_drained(),
                )
        except ServiceError as error:
            return error

    async def _tell_all(self, tell: Tell) -> ServiceError | None:
        request = pb.WatchJobRequest(
            project_id=self.project_id, job_id=self.job_id, after=self.after
        )
        try:
            async with self.edge.jobs.watch_job(request) as watched:
                while (event := await watched.next_event()) is not None:
                    read = read_event(event)
                    if read is None:
                        continue
                    if read.kind != "ended":
                        await tell(read)
                        continue
                    # Who was there already knows it, and is told nothing twice.
                    if read.cursor != self.after:
                        await tell(read)
                    return None
        except ServiceError as error:
            return error
        return events_ended_early()

    async def _until_refused(self) -> ServiceError:
        """Return why the caller may not see the job any more, once that is so."""
        loop = asyncio.get_running_loop()
        checked_at = loop.time()
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            try:
                await self._check()
            except ServiceError as error:
                is_refusal = error.code not in (ErrorCode.UNAVAILABLE, ErrorCode.DEADLINE_EXCEEDED)
                if is_refusal or loop.time() - checked_at > UNCHECKED_SECONDS:
                    return error
                log.info("events.check_failed", reason=error.reason)
            else:
                checked_at = loop.time()

    async def _check(self) -> None:
        caller = await self.edge.authenticate(self.credential)
        # Requests have some leeway; a stream would make it longer each time it is used up.
        if caller.kind == "person" and caller.expires_at <= self.edge.clock.now().timestamp():
            raise Unauthenticated("TOKEN_EXPIRED", "The token has expired.")
        await self.edge.access.require(caller, self.project_id, "jobs:read")
