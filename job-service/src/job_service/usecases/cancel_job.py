"""Cancel a job at the request of somebody in its project."""

from __future__ import annotations

from dataclasses import dataclass

from job_service.domain.errors import JobNotFound
from job_service.domain.job import Job
from job_service.domain.job_state import JobState
from job_service.usecases.ports import Hints, JobMetrics, UnitOfWorkFactory
from job_service.usecases.store_change import StoreChange


@dataclass(frozen=True, slots=True)
class CancelJob:
    """Cancels a job that has not finished yet."""

    unit_of_work: UnitOfWorkFactory
    hints: Hints
    metrics: JobMetrics
    store_change: StoreChange

    async def __call__(self, project_id: str, job_id: str) -> Job:
        """Ask the job to stop and return it as stored. Asking again changes nothing.

        Raises:
            JobNotFound: The project has no such job.
            JobAlreadyFinished: The job reached a final state first.
        """
        async with self.unit_of_work() as work:
            was = await work.jobs.lock(job_id)
            if was is None or was.project_id != project_id:
                raise JobNotFound(job_id)
            asked_before = was.cancel_requested and not was.state.is_final
            if asked_before or was.state is JobState.CANCELLED:
                return was
            job = await self.store_change(work, was, was.cancellation_requested())
        if job is None:
            raise JobNotFound(job_id)
        if job.state.is_final:
            self.metrics.job_changed(job.kind, job.state)
            self.hints.settlement_waits()
        else:
            self.hints.cancel_requested(job.id)
        return job
