"""Try to hold blocked jobs again: after a top-up, a new month, or a released hold."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

import structlog

from job_service.domain.job import Job
from job_service.domain.job_state import JobState
from job_service.usecases.admit_job import AdmitJob
from job_service.usecases.ports import UnitOfWorkFactory
from job_service.usecases.queue_ports import BlockedLane
from service_kit.errors import ServiceError

log = structlog.get_logger(__name__)

LANES_AT_ONCE: Final = 8
# The next round begins soon; who came meanwhile is part of it.
MOST_IN_A_ROUND: Final = 100


@dataclass(frozen=True, slots=True)
class UnblockJobs:
    """One round: each lane's next blocked job, and the one after while they are granted.

    The first of a lane that is refused keeps the others waiting, so that small jobs do not keep a
    large one from ever being granted.
    """

    unit_of_work: UnitOfWorkFactory
    admit: AdmitJob

    async def __call__(self) -> int:
        """Return how many jobs were let go on."""
        async with self.unit_of_work() as work:
            lanes = await work.queue.blocked_lanes()
        gate = asyncio.Semaphore(LANES_AT_ONCE)
        return sum(await asyncio.gather(*(self._unblock(lane, gate) for lane in lanes)))

    async def _unblock(self, lane: BlockedLane, gate: asyncio.Semaphore) -> int:
        async with gate:
            for unblocked in range(MOST_IN_A_ROUND):
                async with self.unit_of_work() as work:
                    job = await work.queue.first_blocked(lane)
                if job is None or not await self._try(job):
                    return unblocked
        return MOST_IN_A_ROUND

    async def _try(self, job: Job) -> bool:
        try:
            admitted = await self.admit(job)
        except ServiceError as error:
            log.warning("job.unblocking_postponed", job_id=job.id, reason=error.reason)
            return False
        return admitted is not None and admitted.state is not JobState.BLOCKED
