"""Queue a job."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from job_service.domain.job import Job
from job_service.usecases.admit_job import AdmitJob
from job_service.usecases.submit_job import Submission, SubmitJob
from service_kit.errors import ServiceError

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CreateJob:
    submit: SubmitJob
    admit: AdmitJob

    async def __call__(self, submission: Submission) -> Job:
        """Return the job: pending, blocked by its budget, or still to be admitted.

        Raises:
            ServiceError: As `SubmitJob`; nothing was written.
        """
        submitted = await self.submit(submission)
        job = submitted.job
        if not submitted.is_new:
            return job
        try:
            return await self.admit(job) or job
        except ServiceError as error:
            # It is accepted: whoever finds its row later repeats the admission.
            log.warning("job.admission_postponed", job_id=job.id, reason=error.reason)
            return job
