"""Remove what a dead letter contained."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from job_service.domain.errors import DeadLetterNotFound
from job_service.usecases.ports import JobMetrics, UnitOfWorkFactory

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PurgeDeadLetter:
    """Keeps what it cost, and that it was; nothing that anybody wrote."""

    unit_of_work: UnitOfWorkFactory
    metrics: JobMetrics

    async def __call__(self, project_id: str, job_id: str, *, actor: str) -> None:
        """Purge a dead letter of the project, for good.

        Raises:
            DeadLetterNotFound: The project has none of this id (any more).
        """
        async with self.unit_of_work() as work:
            job = await work.jobs.lock(job_id)
            if job is None or job.project_id != project_id or not job.is_dead_letter:
                raise DeadLetterNotFound(job_id)
            await work.dead_letters.purge(job_id)
            await work.audit.add(
                "dead_letter.purged",
                actor=actor,
                subject=f"job {job_id}",
                details={"project_id": project_id, "admission": job.admission},
            )
        log.info("dead_letter.purged", job_id=job_id)
        self.metrics.purged()
