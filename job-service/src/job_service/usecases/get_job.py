"""Look at jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from job_service.domain.errors import JobNotFound
from job_service.domain.job import Job
from job_service.domain.job_state import JobState
from job_service.usecases.job_ports import JobPosition
from job_service.usecases.ports import UnitOfWorkFactory


@dataclass(frozen=True, slots=True)
class GetJob:
    unit_of_work: UnitOfWorkFactory

    async def __call__(self, project_id: str, job_id: str) -> Job:
        """Return a job of the project.

        Raises:
            JobNotFound: The project has no such job.
        """
        async with self.unit_of_work() as work:
            job = await work.jobs.find(project_id, job_id)
        if job is None:
            raise JobNotFound(job_id)
        return job


@dataclass(frozen=True, slots=True)
class ListJobs:
    unit_of_work: UnitOfWorkFactory

    async def __call__(
        self, project_id: str, state: JobState | None, limit: int, after: JobPosition | None
    ) -> Sequence[Job]:
        """Return up to `limit` jobs of the project, newest first."""
        async with self.unit_of_work() as work:
            return await work.jobs.list_page(project_id, state, limit, after)
