"""Hold a job's worst case and let it go on: steps b and c of the protocol's admission."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import structlog

from job_service.domain.cheaper_ways import cheaper_ways
from job_service.domain.errors import ModelNotFound, OperationNotServed
from job_service.domain.job import Job
from job_service.domain.job_state import JobState
from job_service.domain.targets import agree_terms
from job_service.usecases.ledger_ports import Ledger
from job_service.usecases.ports import Hints, JobMetrics, Prices, Targets, UnitOfWorkFactory
from job_service.usecases.store_change import StoreChange
from service_kit.errors import ErrorCode, ServiceError
from service_kit.failpoints import failpoint
from service_kit.ids import new_id

log = structlog.get_logger(__name__)

_REFUSALS: Final = frozenset({"BUDGET_EXCEEDED", "NO_BUDGET"})
# The ledger may be all right: ask again. Whatever else it says, it will say again.
_PASSING: Final = frozenset(
    {
        ErrorCode.UNAVAILABLE,
        ErrorCode.DEADLINE_EXCEEDED,
        ErrorCode.CANCELLED,
        ErrorCode.ABORTED,
        ErrorCode.INTERNAL,
        ErrorCode.UNAUTHENTICATED,
        ErrorCode.PERMISSION_DENIED,
    }
)


@dataclass(frozen=True, slots=True)
class AdmitJob:
    """Takes an admitting or blocked job as far as its budget lets it go. May be repeated."""

    unit_of_work: UnitOfWorkFactory
    ledger: Ledger
    prices: Prices
    targets: Targets
    hints: Hints
    metrics: JobMetrics
    store_change: StoreChange

    async def __call__(self, job: Job) -> Job | None:
        """Return the job as it was stored, or `None` where somebody else moved it meanwhile.

        Raises:
            ServiceError: The ledger, a price or the targets are away; the job stays as it is.
        """
        try:
            priced = await self._with_terms(job)
        except (ModelNotFound, OperationNotServed) as error:
            return await self._store(job, job.rejected(error.reason, error.message))
        if priced is None:
            return None
        try:
            hold = await self.ledger.place_hold(priced)
        except ServiceError as error:
            return await self._without_hold(priced, error)
        await failpoint("after_hold")
        return await self._store(priced, priced.admitted(hold.period, new_id()))

    async def give_up(self, job: Job, error: ServiceError) -> None:
        """End a job that could not be held while its caller waited.

        Its void refuses a hold that arrives late.
        """
        await self._store(job, job.rejected(error.reason, error.message))

    async def _with_terms(self, job: Job) -> Job | None:
        """Return the job with its terms stored: the same hold may have to be placed again."""
        if job.terms is not None:
            return job
        terms = agree_terms(job.specification, self.targets.current(), self.prices.current())
        async with self.unit_of_work() as work:
            return await work.jobs.save(job, job.with_terms(terms))

    async def _without_hold(self, job: Job, error: ServiceError) -> Job | None:
        if error.reason in _REFUSALS:
            if job.state is JobState.BLOCKED:
                return None
            told = f"{error.message} {cheaper_ways(job.specification, job.agreed)}".rstrip()
            return await self._store(job, job.refused(error.reason, told))
        if error.code in _PASSING:
            raise error
        log.error("job.hold_rejected", job_id=job.id, reason=error.reason, error=error.message)
        return await self._store(job, job.rejected(error.reason, error.message))

    async def _store(self, was: Job, now: Job) -> Job | None:
        async with self.unit_of_work() as work:
            stored = await self.store_change(work, was, now)
        if stored is None:
            return None
        await failpoint("after_admission")
        self.metrics.job_changed(stored.kind, stored.state)
        if stored.state is JobState.PENDING:
            self.hints.work_waits()
        elif stored.state.is_final:
            self.hints.settlement_waits()
        return stored
