"""Run one attempt of a leased job, and store how it ended."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum

import structlog

from job_service.domain.execution import (
    TARGET_UNAVAILABLE,
    Delta,
    Dispatching,
    ExecutionError,
    ExecutionEvent,
    Progress,
    Released,
)
from job_service.domain.job import Job
from job_service.domain.retry_policy import RetryPolicy
from job_service.domain.targets import serves
from job_service.usecases.ports import (
    ExecutionStream,
    Executor,
    Hints,
    JobMetrics,
    Targets,
    UnitOfWork,
    UnitOfWorkFactory,
)
from job_service.usecases.publish_deltas import AttemptDeltas, DeltaPublisher
from job_service.usecases.store_change import StoreChange
from service_kit.clock import Clock
from service_kit.errors import ErrorCode, ServiceError, Unavailable
from service_kit.failpoints import failpoint

log = structlog.get_logger(__name__)

FINISH_RETRY_SECONDS = 0.2


class StopReason(StrEnum):
    """Why an attempt is to stop before its end."""

    LEASE_LOST = "lease_lost"
    CANCEL_REQUESTED = "cancel_requested"
    CALLER_GONE = "caller_gone"
    SHUTDOWN = "shutdown"


class StopSignal:
    """Asks an attempt to stop. The first reason stays, but a lost lease overrides all."""

    def __init__(self) -> None:
        self.reason: StopReason | None = None
        self._changed = asyncio.Event()

    def ask(self, reason: StopReason) -> None:
        if self.reason is None or reason is StopReason.LEASE_LOST:
            self.reason = reason
        self.wake()

    def wake(self) -> None:
        """End the current wait."""
        self._changed.set()

    async def wait(self, seconds: float) -> None:
        """Return when something changed, or after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()


def _execution_error(error: ServiceError) -> ExecutionError:
    asked = error.retry_after.total_seconds() if error.retry_after else 0.0
    return ExecutionError(error.reason, error.code, error.message, asked)


def nobody_listens(_: ExecutionEvent) -> None:
    """Take the events of a job whose caller is not waiting."""


@dataclass(frozen=True, slots=True)
class ExecuteAttempt:
    """Runs what a lease stands for. Both kinds of job go this way.

    Args:
        policy: What becomes of failures.
        renew_seconds: How often the lease is renewed.
        deltas: Carries answers of queued jobs to whoever watches them.
        finish_patience_seconds: How long to go on trying to store the end while the database
            is away. After that the lease lapses and the reaper decides.
    """

    unit_of_work: UnitOfWorkFactory
    executor: Executor
    targets: Targets
    hints: Hints
    metrics: JobMetrics
    store_change: StoreChange
    clock: Clock
    policy: RetryPolicy
    renew_seconds: float
    deltas: DeltaPublisher
    finish_patience_seconds: float = 30.0

    async def __call__(
        self,
        job: Job,
        stop: StopSignal,
        emit: Callable[[ExecutionEvent], None] = nobody_listens,
    ) -> Job | None:
        """Return the job as stored after the attempt; `None` where it is no longer ours."""
        attempt = _Attempt(job, stop, emit)
        if job.is_queued:
            # An interactive answer goes to its caller.
            told = self.deltas.open(job.id, job.attempt, lambda: attempt.progress.text)
            attempt.deltas = told
        error = await self._run(attempt)
        if stop.reason is StopReason.LEASE_LOST:
            self._tell_discarded(job)
            return None
        now = self._conclude(attempt, error)
        if now.state.is_final:
            now = replace(now, delta_count=attempt.delta_count)
        ran = attempt.job.noting(attempt.progress)
        await failpoint("before_finish")
        stored = await self._finish(attempt, now, ran)
        if stored is None:
            self._tell_discarded(job)
        else:
            self._tell(stored, ran)
        return stored

    async def _run(self, attempt: _Attempt) -> ExecutionError | None:
        """Follow the attempt to its end, renewing its lease."""
        if attempt.stop.reason is not None:
            return None
        async with asyncio.TaskGroup() as tasks:
            try:
                error = await self._follow(attempt, tasks)
                # Before the end is known, so that whoever sees it can have all that was said.
                await self._close_deltas(attempt)
            finally:
                # Asked rather than cancelled: a statement that is cancelled costs a connection.
                attempt.has_ended = True
                attempt.stop.wake()
        return error

    async def _follow(self, attempt: _Attempt, tasks: asyncio.TaskGroup) -> ExecutionError | None:
        """Take in what the router tells, to the end of that."""
        try:
            async with self.executor.execute(attempt.job) as stream:
                tasks.create_task(self._keep_lease(attempt, stream))
                async for event in stream.events():
                    attempt.progress.note(event)
                    if isinstance(event, (Dispatching, Released)):
                        await self._record(attempt, stream, event)
                    attempt.emit(event)
                    if attempt.deltas is not None and isinstance(event, Delta):
                        attempt.deltas.add(event.text)
        except ServiceError as error:
            return _execution_error(error)
        return None

    async def _close_deltas(self, attempt: _Attempt) -> None:
        """Have the last words written. Nothing that goes wrong there is worth an answer."""
        if attempt.deltas is None or attempt.stop.reason is StopReason.LEASE_LOST:
            return
        try:
            await attempt.deltas.close()
        except Exception:
            log.exception("deltas.close_failed", job_id=attempt.job.id)
            self.metrics.deltas_failed()

    async def _record(
        self, attempt: _Attempt, stream: ExecutionStream, event: Dispatching | Released
    ) -> None:
        """Commit that a paid target is about to be asked, or let go, before anything follows.

        A job that somebody has asked to stop meanwhile is let go again: without `Go` nothing runs.
        """
        was = attempt.job
        now = was.dispatched(event) if isinstance(event, Dispatching) else was.released()
        async with self.unit_of_work() as work:
            stored = await self.store_change(work, was, now)
            if stored is not None and stored.cancel_requested and stored.dispatch is not None:
                stored = await self.store_change(work, stored, stored.released())
        if stored is None:
            attempt.stop.ask(StopReason.LEASE_LOST)
            stream.stop()
            return
        attempt.job = stored
        if stored.cancel_requested:
            attempt.stop.ask(StopReason.CANCEL_REQUESTED)
        elif isinstance(event, Dispatching):
            await stream.go(event.client_task_id)
            await failpoint("after_go")

    async def _keep_lease(self, attempt: _Attempt, stream: ExecutionStream) -> None:
        """Renew until the attempt ends; stop its engine as soon as there is a reason to."""
        is_stopped = False
        while True:
            await attempt.stop.wait(self.renew_seconds)
            if attempt.has_ended:
                return
            if attempt.stop.reason is None or is_stopped:
                await self._renew(attempt)
            if attempt.stop.reason is not None and not is_stopped:
                is_stopped = True
                stream.stop()

    async def _renew(self, attempt: _Attempt) -> None:
        try:
            async with self.unit_of_work() as work:
                cancel_requested = await work.jobs.renew(attempt.job, attempt.progress)
        except Unavailable:
            # The work goes on: the lease token decides at the end whether it was in vain.
            log.warning("lease.renewal_failed", job_id=attempt.job.id)
            return
        if cancel_requested is None:
            attempt.stop.ask(StopReason.LEASE_LOST)
        elif cancel_requested:
            attempt.stop.ask(StopReason.CANCEL_REQUESTED)

    def _conclude(self, attempt: _Attempt, error: ExecutionError | None) -> Job:
        """Return what becomes of the job."""
        job, progress, reason = attempt.job, attempt.progress, attempt.stop.reason
        if job.is_answered_by(progress):
            return job.completed(progress)
        if reason in (StopReason.CALLER_GONE, StopReason.CANCEL_REQUESTED):
            return job.stopped(progress)
        if reason is StopReason.SHUTDOWN:
            return job.abandoned(progress)
        ended = error or ExecutionError(
            "EXECUTION_FAILED", ErrorCode.INTERNAL, "The answer ended before its end."
        )
        # After a decision it is the target's own word, and stays.
        is_unknown = ended.reason == "MODEL_NOT_SERVED" and progress.decision is None
        if is_unknown and self._may_be_served(job):
            ended = replace(ended, reason=TARGET_UNAVAILABLE, code=ErrorCode.UNAVAILABLE)
        jitter = random.uniform(0.8, 1.2)  # noqa: S311 -- not a secret
        return job.errored(ended, progress, self.policy, jitter)

    def _may_be_served(self, job: Job) -> bool:
        """Tell whether the model had a server lately: then it is away rather than unknown."""
        try:
            return serves(self.targets.current(), job.specification.model)
        except Unavailable:
            return False

    async def _finish(self, attempt: _Attempt, now: Job, ran: Job) -> Job | None:
        """Store the end while the lease is ours. A commit whose reply got lost is found again."""
        give_up_at = self.clock.monotonic() + self.finish_patience_seconds
        while True:
            try:
                return await self._finish_once(attempt, now, ran)
            except Unavailable:
                if self.clock.monotonic() >= give_up_at:
                    raise
                log.warning("job.finish_postponed", job_id=now.id)
            await asyncio.sleep(FINISH_RETRY_SECONDS)

    async def _finish_once(self, attempt: _Attempt, now: Job, ran: Job) -> Job | None:
        was, progress = attempt.job, attempt.progress
        async with self.unit_of_work() as work:
            stored = await self.store_change(work, was, now, ran, progress)
            if stored is None:
                return await self._own_commit(work, was)
        await failpoint("after_finish_commit")
        return stored

    @staticmethod
    async def _own_commit(work: UnitOfWork, was: Job) -> Job | None:
        found = await work.jobs.find_anywhere(was.id)
        if found is None or not found.state.is_final or found.lease_token != was.lease_token:
            return None
        return found

    def _tell_discarded(self, job: Job) -> None:
        log.warning("job.attempt_discarded", job_id=job.id, attempt=job.attempt)
        self.metrics.lease_lost()

    def _tell(self, stored: Job, ran: Job) -> None:
        log.info(
            "job.attempt_ended",
            job_id=stored.id,
            attempt=ran.attempt,
            state=stored.state,
            reason=stored.failure_reason,
        )
        self.metrics.job_changed(stored.kind, stored.state)
        if ran.executed_target is not None:
            self.metrics.executed(ran.executed_target)
        if stored.excess_nanousd:
            log.warning("job.usage_excess", job_id=stored.id, excess=stored.excess_nanousd)
            self.metrics.usage_excess()
        if stored.state.is_final:
            self.hints.settlement_waits()


@dataclass(slots=True)
class _Attempt:
    """What changes while an attempt runs."""

    job: Job
    stop: StopSignal
    emit: Callable[[ExecutionEvent], None]
    progress: Progress = field(default_factory=Progress)
    deltas: AttemptDeltas | None = None
    has_ended: bool = False

    @property
    def delta_count(self) -> int:
        """In how many pieces the answer came."""
        return len(self.progress.texts) if self.deltas is None else self.deltas.count
