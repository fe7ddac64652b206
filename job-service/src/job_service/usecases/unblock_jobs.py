"""Try to hold blocked jobs again: after a top-up, a new month, or a released hold."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from job_service.domain.job import Job, JobState
from job_service.usecases.admit_job import AdmitJob
from job_service.usecases.ports import UnitOfWorkFactory
from service_kit.errors import ServiceError

log = structlog.get_logger(__name__)

PROJECTS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class UnblockJobs:
    """One round: each project's oldest blocked job, and the next ones while they are granted."""

    unit_of_work: UnitOfWorkFactory
    admit: AdmitJob

    async def __call__(self) -> int:
        """Return how many jobs were let go on."""
        unblocked, gate = 0, asyncio.Semaphore(PROJECTS_AT_ONCE)
        refused: set[str] = set()
        while True:
            async with self.unit_of_work() as work:
                oldest = await work.jobs.oldest_blocked()
            tried = [job for job in oldest if job.project_id not in refused]
            if not tried:
                return unblocked
            granted = await asyncio.gather(*(self._try(job, gate) for job in tried))
            refused |= {job.project_id for job, ok in zip(tried, granted, strict=True) if not ok}
            unblocked += sum(granted)

    async def _try(self, job: Job, gate: asyncio.Semaphore) -> bool:
        async with gate:
            try:
                admitted = await self.admit(job)
            except ServiceError as error:
                log.warning("job.unblocking_postponed", job_id=job.id, reason=error.reason)
                return False
        return admitted is not None and admitted.state is not JobState.BLOCKED
