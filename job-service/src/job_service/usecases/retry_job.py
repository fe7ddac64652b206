"""Run a job again that is over, because a person wishes it."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from job_service.domain.job import Job
from job_service.usecases.admit_job import AdmitJob
from job_service.usecases.readmit_job import ReadmitJob, RetryWish
from job_service.usecases.submit_job import check_key
from service_kit.errors import ServiceError

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RetryJob:
    """Retries a job, or redrives a dead letter."""

    readmit: ReadmitJob
    admit: AdmitJob

    async def __call__(self, wish: RetryWish) -> Job:
        """Return the job: pending, blocked by its budget, or still to be admitted.

        Raises:
            InvalidArgument: This can be no key.
            ServiceError: As `ReadmitJob`; nothing was written.
        """
        check_key(wish.key)
        readmitted = await self.readmit(wish)
        job = readmitted.job
        if not readmitted.is_new:
            return job
        try:
            return await self.admit(job) or job
        except ServiceError as error:
            # Its row is written: whoever finds it later repeats the admission.
            log.warning("job.admission_postponed", job_id=job.id, reason=error.reason)
            return job
