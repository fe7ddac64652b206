"""Redrive many dead letters at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from job_service.domain.dead_letter import DeadLetterFilter
from job_service.domain.errors import DeadLetterNotFound, ModelNotFound, OperationNotServed
from job_service.domain.job import Job
from job_service.usecases.admit_job import AdmitJob
from job_service.usecases.ports import Background, UnitOfWorkFactory
from job_service.usecases.readmit_job import ReadmitJob, RetryRoute, RetryWish
from job_service.usecases.submit_job import check_key
from service_kit.errors import ServiceError

log = structlog.get_logger(__name__)

ADMITTED_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Refusal:
    """A dead letter that stays one, and why."""

    job_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Redriven:
    """What became of those that were meant, in the order in which they had died."""

    job_ids: Sequence[str]
    refusals: Sequence[Refusal]


@dataclass(frozen=True, slots=True)
class RedriveDeadLetters:
    """Opens their admissions one after the other, each for good, and admits them beside that."""

    unit_of_work: UnitOfWorkFactory
    readmit: ReadmitJob
    admit: AdmitJob
    background: Background
    _gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(ADMITTED_AT_ONCE))

    async def __call__(
        self, which: DeadLetterFilter, limit: int, *, actor: str, key: str
    ) -> Redriven:
        """Redrive up to `limit`, and return which.

        Raises:
            InvalidArgument: This can be no key.
            ServiceError: Something is away; some may have been redriven before.
        """
        check_key(key)
        async with self.unit_of_work() as work:
            found = await work.dead_letters.oldest(which, limit)
        job_ids: list[str] = []
        refusals: list[Refusal] = []
        for job_id in found:
            wish = RetryWish(
                which.project_id, job_id, RetryRoute.REDRIVE_MANY, actor, _key_of(key, job_id)
            )
            try:
                readmitted = await self.readmit(wish)
            except (ModelNotFound, OperationNotServed) as error:
                refusals.append(Refusal(job_id, error.reason))
                continue
            except DeadLetterNotFound:
                # Somebody else decided about it meanwhile.
                continue
            if readmitted.is_new:
                job_ids.append(job_id)
                job = readmitted.job
                self.background.start(self._admit(job), request_id=job.origin_request_id)
        log.info("dead_letters.redriven", redriven=len(job_ids), refused=len(refusals))
        return Redriven(job_ids, refusals)

    async def _admit(self, job: Job) -> None:
        try:
            async with self._gate:
                await self.admit(job)
        except ServiceError as error:
            log.warning("job.admission_postponed", job_id=job.id, reason=error.reason)


def _key_of(key: str, job_id: str) -> str:
    return f"{key}:{job_id}" if key else ""
