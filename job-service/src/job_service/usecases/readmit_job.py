"""Open a new admission for a job that is over: step a of the protocol's admission, once more."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import structlog

from job_service.domain.charge import Terms
from job_service.domain.errors import DeadLetterNotFound, IdempotencyKeyReused, JobNotFound
from job_service.domain.job import Job
from job_service.domain.targets import agree_terms
from job_service.usecases.check_queue_room import CheckQueueRoom
from job_service.usecases.idempotency_ports import IdempotencyKey, Reservation
from job_service.usecases.ports import (
    JobMetrics,
    Prices,
    Targets,
    UnitOfWork,
    UnitOfWorkFactory,
)
from job_service.usecases.store_change import StoreChange
from service_kit.errors import Unavailable
from service_kit.failpoints import failpoint
from service_kit.ids import new_id

log = structlog.get_logger(__name__)


class RetryRoute(StrEnum):
    """By which RPC a person asked; an idempotency key belongs to one."""

    RETRY = "RetryJob"
    REDRIVE = "RedriveDeadLetter"
    REDRIVE_MANY = "RedriveDeadLetters"

    @property
    def action(self) -> str:
        """What the audit trail calls it."""
        return "job.retried" if self is RetryRoute.RETRY else "dead_letter.redriven"


@dataclass(frozen=True, slots=True)
class RetryWish:
    """A person's wish to run a job again, by somebody who may have it.

    Attributes:
        actor: Who wishes it: `user:<id>` or `key:<id>`.
        key: The same key retries a job once, whatever becomes of it; empty for none.
    """

    project_id: str
    job_id: str
    route: RetryRoute
    actor: str
    key: str = ""

    @property
    def is_one_of_many(self) -> bool:
        """Whether it was found rather than named: what others did about it is not ours."""
        return self.route is RetryRoute.REDRIVE_MANY


@dataclass(frozen=True, slots=True)
class Readmitted:
    """A job, and whether this wish opened its admission."""

    job: Job
    is_new: bool


@dataclass(frozen=True, slots=True)
class ReadmitJob:
    unit_of_work: UnitOfWorkFactory
    prices: Prices
    targets: Targets
    metrics: JobMetrics
    store_change: StoreChange
    check_room: CheckQueueRoom

    async def __call__(self, wish: RetryWish) -> Readmitted:
        """Return the job, `admitting`; or as it is, where it was retried before and lives.

        Whoever comes second waits for the row and finds it alive: however many ask at once, one
        admission is opened.

        Raises:
            JobNotFound: The project has no such job.
            DeadLetterNotFound: To be redriven, and no dead letter; as one of many, also where it
                was one, and somebody else retried it.
            JobNotFinished: It has not ended for the first time.
            JobNotRetryable: It never runs again.
            ModelNotFound: No target serves the model now; nothing was written.
            OperationNotServed: None that serves it does what is asked; nothing was written.
            IdempotencyKeyReused: The key retried another job.
            QueueFull: Too many jobs of the project wait already; nothing was written.
        """
        async with self.unit_of_work() as work:
            was = await _lock(work, wish)
            if await _is_done(work, wish) or (_lives_again(was) and not wish.is_one_of_many):
                return Readmitted(was, is_new=False)
            if wish.route is not RetryRoute.RETRY and not was.is_dead_letter:
                raise DeadLetterNotFound(was.id)
            job = await self._readmit(work, was, wish)
        await failpoint("after_job_row")
        log.info(wish.route.action, job_id=job.id, admission=job.admission, was=was.state)
        self.metrics.retried(was.state)
        self.metrics.job_changed(job.kind, job.state)
        return Readmitted(job, is_new=True)

    async def _readmit(self, work: UnitOfWork, was: Job, wish: RetryWish) -> Job:
        now = was.retried(new_id())
        terms = self._terms(now)
        if terms is not None:
            now = now.with_terms(terms)
        await self.check_room(work, now.project_id)
        job = await self.store_change(work, was, now)
        if job is None:
            raise JobNotFound(was.id)
        await work.audit.add(
            wish.route.action,
            actor=wish.actor,
            subject=f"job {job.id}",
            details={
                "project_id": job.project_id,
                "admission": job.admission,
                "state": was.state,
                "reason": was.failure_reason or "",
            },
        )
        return job

    def _terms(self, job: Job) -> Terms | None:
        """Return the terms of now; `None` where it has to wait until they can be known."""
        try:
            return agree_terms(job.specification, self.targets.current(), self.prices.current())
        except Unavailable:
            return None


def _lives_again(job: Job) -> bool:
    return not job.state.is_final and job.admission > 1


async def _lock(work: UnitOfWork, wish: RetryWish) -> Job:
    job = await work.jobs.lock(wish.job_id)
    if job is not None and job.project_id == wish.project_id:
        return job
    if wish.route is RetryRoute.RETRY:
        raise JobNotFound(wish.job_id)
    raise DeadLetterNotFound(wish.job_id)


async def _is_done(work: UnitOfWork, wish: RetryWish) -> bool:
    """Take the wish's key, and tell whether it was used for this job before.

    The job is locked, so nobody else takes the same key for it meanwhile.
    """
    if not wish.key:
        return False
    key = IdempotencyKey(wish.project_id, wish.route, wish.key)
    found = await work.idempotency.find(key)
    is_known = found is not None
    if found is None:
        found = await work.idempotency.reserve(key, Reservation(wish.job_id, wish.job_id))
    if found.job_id != wish.job_id:
        raise IdempotencyKeyReused()
    return is_known
