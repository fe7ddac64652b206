"""Find jobs whose lease ran out, and let them go on."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import structlog

from job_service.domain.job import Job
from job_service.domain.job_state import JobState
from job_service.domain.retry_policy import RetryPolicy
from job_service.usecases.admit_job import AdmitJob
from job_service.usecases.ports import Background, Hints, JobMetrics, UnitOfWorkFactory
from job_service.usecases.store_change import StoreChange
from service_kit.clock import Clock
from service_kit.errors import ServiceError
from service_kit.ids import new_id

log = structlog.get_logger(__name__)

BATCH = 100
AT_ONCE = 8


@dataclass(slots=True)
class ReapJobs:
    """One round of the reaper.

    While the database was away nobody could renew. So after a start, and whenever the rounds
    were interrupted, it waits one lease before it believes that a lease is over.

    Args:
        lease_seconds: How long a lease lasts.
        patience_seconds: Rounds that are further apart than this were interrupted.
    """

    unit_of_work: UnitOfWorkFactory
    admit: AdmitJob
    background: Background
    hints: Hints
    metrics: JobMetrics
    store_change: StoreChange
    clock: Clock
    policy: RetryPolicy
    lease_seconds: float
    patience_seconds: float
    _gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    _seen_at: float | None = None
    _quiet_until: float = 0.0

    async def __call__(self) -> int:
        """Return how many jobs were moved on.

        Raises:
            Unavailable: The database is away.
        """
        async with self.unit_of_work() as work:
            await work.jobs.lapsed_count()
        if not self._may_believe_leases():
            return 0
        moved = await self._reap()
        for job in moved:
            if job.state is JobState.ADMITTING:
                # Beside the rounds: a ledger that hangs must not keep leases from being reaped.
                self.background.start(self._admit_again(job), request_id=job.origin_request_id)
        return len(moved)

    def _may_believe_leases(self) -> bool:
        """Take in that the database has just answered; tell whether it did so all the time."""
        now = self.clock.monotonic()
        if self._seen_at is None or now - self._seen_at > self.patience_seconds:
            self._quiet_until = now + self.lease_seconds
        self._seen_at = now
        return now >= self._quiet_until

    async def _reap(self) -> list[Job]:
        moved = []
        async with self.unit_of_work() as work:
            lapsed = await work.jobs.lock_lapsed(BATCH)
            if not self._may_believe_leases():
                return []
            for was in lapsed:
                stored = await self.store_change(work, was, was.reaped(self.policy, new_id()))
                if stored is not None:
                    moved.append(stored)
        for job in moved:
            self._tell(job)
        return moved

    async def _admit_again(self, job: Job) -> None:
        try:
            async with self._gate:
                await self.admit(job)
        except ServiceError as error:
            log.warning("job.admission_postponed", job_id=job.id, reason=error.reason)

    def _tell(self, job: Job) -> None:
        log.warning(
            "job.reaped",
            job_id=job.id,
            attempt=job.attempt,
            state=job.state,
            reason=job.failure_reason,
        )
        self.metrics.job_changed(job.kind, job.state)
        if job.state is JobState.PENDING:
            self.hints.work_waits()
        elif job.state.is_final:
            self.hints.settlement_waits()
