"""Look at dead letters without changing them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from job_service.domain.dead_letter import DeadLetterFilter, Evidence
from job_service.domain.errors import DeadLetterNotFound
from job_service.domain.job import Job
from job_service.usecases.dead_letter_ports import DeadLetterPosition
from job_service.usecases.ports import UnitOfWorkFactory

MOST_EVIDENCE: Final = 1000
"""So many attempts and changes at most; a job that waited for long has many of both."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    job: Job
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class GetDeadLetter:
    unit_of_work: UnitOfWorkFactory

    async def __call__(self, project_id: str, job_id: str) -> DeadLetter:
        """Return a dead letter of the project, with its evidence.

        Raises:
            DeadLetterNotFound: The project has none of this id.
        """
        async with self.unit_of_work() as work:
            job = await work.jobs.find(project_id, job_id)
            if job is None or not job.is_dead_letter:
                raise DeadLetterNotFound(job_id)
            return DeadLetter(job, await work.dead_letters.evidence(job_id, MOST_EVIDENCE))


@dataclass(frozen=True, slots=True)
class ListDeadLetters:
    unit_of_work: UnitOfWorkFactory

    async def __call__(
        self, which: DeadLetterFilter, limit: int, after: DeadLetterPosition | None
    ) -> Sequence[Job]:
        """Return up to `limit` dead letters, those that died last first."""
        async with self.unit_of_work() as work:
            return await work.dead_letters.list_page(which, limit, after)
