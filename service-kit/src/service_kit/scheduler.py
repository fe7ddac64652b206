"""Runs a service's periodic work: one replica for each due time, whatever their number.

Every replica looks for what is due and tries to claim it; see `scheduled_runs`. Who was away
at a due time runs the latest one only. A run whose replica died is taken over when its lease
lapses, so that it may happen twice, and who comes late can't finish it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import uuid4

import structlog
from prometheus_client import CollectorRegistry

from service_kit.errors import ErrorCode, ServiceError
from service_kit.loop import PeriodicLoop
from service_kit.metrics import SchedulerMetrics
from service_kit.schedule import Run, RunOutcome, ScheduledTask, TaskStatus
from service_kit.scheduled_runs import Claim, Ending

log = structlog.get_logger(__name__)

# A lease outlives the run that it is for: the cancellation, and the commit of the ending.
LEASE_MARGIN: Final = timedelta(seconds=15)
MAX_ATTEMPTS: Final = 3
RETRY_PAUSE: Final = timedelta(seconds=30)
# A task that was cancelled has so long to end.
_CANCEL_SECONDS: Final = 5.0
_NOTE_PAUSE_SECONDS: Final = 0.5


class Runs(Protocol):
    """Where runs are kept; see `scheduled_runs.PostgresRuns`."""

    async def now(self) -> datetime: ...

    async def find(self, task: str, due_at: datetime) -> Run | None: ...

    async def claim(self, claim: Claim, max_attempts: int) -> int | None: ...

    async def finish(self, claim: Claim, ending: Ending) -> bool: ...

    async def hand_back(self, claim: Claim, pause: timedelta, error: str) -> bool: ...

    async def abandon(self, task: str, due_at: datetime, max_attempts: int) -> int: ...

    async def statuses(self, tasks: Sequence[ScheduledTask]) -> Sequence[TaskStatus]: ...


class TaskTimedOut(ServiceError):
    """A task took longer than it may."""

    code = ErrorCode.DEADLINE_EXCEEDED
    reason = "TASK_TIMED_OUT"

    def __init__(self, task: ScheduledTask) -> None:
        super().__init__(f"The task took longer than {task.timeout_seconds:g} s.")


class Scheduler:
    """A loop for `loop.running`, which starts tasks that are due.

    What a task raises is logged with its traceback, counted and noted in its
    run, and the schedule goes on. Elsewhere a bug takes its service down
    (`PeriodicLoop`), which beats a loop that is silently dead. Here it would
    take down all replicas, one after the other, for work that nobody waits for,
    and keep the tasks beside it from running; and it is not silent, because a
    run without success shows in metrics and in `statuses`.

    Args:
        tasks: What to run.
        runs: Where the replicas agree on who does.
        registry: Where runs are counted.
        poll_seconds: How often to look, which is how late a run may start.
        retry_pause: How long to wait before a run is tried again whose database, or whatever
            it needs, was away.
    """

    name: Final = "scheduler"

    def __init__(
        self,
        tasks: Sequence[ScheduledTask],
        runs: Runs,
        *,
        registry: CollectorRegistry,
        poll_seconds: float = 1.0,
        retry_pause: timedelta = RETRY_PAUSE,
    ) -> None:
        self._tasks: Mapping[str, ScheduledTask] = {task.name: task for task in tasks}
        if len(self._tasks) < len(tasks):
            raise ValueError("two tasks have the same name")
        self._runs = runs
        self._registry = registry
        self._metrics = SchedulerMetrics(registry)
        self._poll_seconds = poll_seconds
        self._retry_pause = retry_pause
        self._claimed_by = f"{socket.gethostname()}:{os.getpid()}"
        self._running: set[str] = set()
        # The latest due time of each task that is known to be over, so as not to ask again.
        self._over: dict[str, datetime] = {}

    async def run(self) -> None:
        """Look for due tasks again and again. Cancelled, it cancels what runs and ends."""
        async with asyncio.TaskGroup() as group:

            async def look() -> None:
                await self._look(group)

            loop = PeriodicLoop(self.name, self._poll_seconds, look, registry=self._registry)
            await loop.run()

    async def statuses(self) -> Sequence[TaskStatus]:
        """Return what there is to know of every task, whichever replica ran it."""
        return await self._runs.statuses(list(self._tasks.values()))

    async def _look(self, group: asyncio.TaskGroup) -> None:
        now = await self._runs.now()
        for task in self._tasks.values():
            due_at = task.schedule.latest_due(now)
            if task.name in self._running or self._over.get(task.name) == due_at:
                continue
            run = await self._runs.find(task.name, due_at)
            if run is not None and run.finished_at is not None:
                self._note_over(run, run.finished_at)
            elif run is None or run.lapsed:
                await self._try(group, task, due_at)

    async def _try(self, group: asyncio.TaskGroup, task: ScheduledTask, due_at: datetime) -> None:
        abandoned = await self._runs.abandon(task.name, due_at, MAX_ATTEMPTS)
        if abandoned:
            log.error("scheduler.runs_abandoned", task=task.name, runs=abandoned)
            self._metrics.ran(task.name, RunOutcome.ABANDONED, abandoned)
        lease = timedelta(seconds=task.timeout_seconds) + LEASE_MARGIN
        claim = Claim(task.name, due_at, str(uuid4()), self._claimed_by, lease)
        attempt = await self._runs.claim(claim, MAX_ATTEMPTS)
        if attempt is not None:
            self._running.add(task.name)
            group.create_task(self._carry_out(task, claim, attempt), name=task.name)

    async def _carry_out(self, task: ScheduledTask, claim: Claim, attempt: int) -> None:
        started = time.monotonic()
        lease_ends = started + claim.lease.total_seconds()
        try:
            error = await _error_of(task)
            seconds = time.monotonic() - started
            _log_end(task, claim, attempt, seconds, error)
            if error is not None and _passes_by_itself(error) and attempt < MAX_ATTEMPTS:
                pause, text = self._retry_pause, _safe_text(error)
                await _noted(lambda: self._runs.hand_back(claim, pause, text), claim, lease_ends)
                return
            ending = Ending(_outcome(error), seconds, None if error is None else _safe_text(error))
            if await _noted(lambda: self._runs.finish(claim, ending), claim, lease_ends):
                self._metrics.ran(task.name, ending.outcome)
        finally:
            self._running.discard(task.name)

    def _note_over(self, run: Run, finished_at: datetime) -> None:
        # Read from the row, so that every replica shows the last run, whoever it was.
        self._over[run.task] = run.due_at
        self._metrics.last_run(run.task, finished_at.timestamp(), run.duration_seconds)


async def _error_of(task: ScheduledTask) -> BaseException | None:
    """Run the task once, within its time, and return what it raised."""

    async def work_once() -> None:
        await task.run()

    work = asyncio.create_task(work_once(), name=f"{task.name} itself")
    try:
        await asyncio.wait({work}, timeout=task.timeout_seconds)
        timed_out = not work.done()
    finally:
        if not work.done():
            work.cancel()
            await asyncio.wait({work}, timeout=_CANCEL_SECONDS)
    if not work.done():
        # It stays as it is; the lease sees to it that others go on without it.
        log.error("scheduler.cancellation_ignored", task=task.name)
        return TaskTimedOut(task)
    error = asyncio.CancelledError() if work.cancelled() else work.exception()
    return TaskTimedOut(task) if timed_out else error


async def _noted(step: Callable[[], Awaitable[bool]], claim: Claim, lease_ends: float) -> bool:
    """Say how a run ended, again and again while the database is away and the lease lasts.

    Return whether it was ours to say. Where nobody could be told, the lease lapses.
    """
    while True:
        try:
            ours = await step()
        except ServiceError as error:
            log.warning("scheduler.ending_not_noted", task=claim.task, error=error.message)
            if time.monotonic() + _NOTE_PAUSE_SECONDS > lease_ends:
                return False
            await asyncio.sleep(_NOTE_PAUSE_SECONDS)
            continue
        if not ours:
            log.warning(
                "scheduler.run_taken_over", task=claim.task, due_at=claim.due_at.isoformat()
            )
        return ours


def _log_end(
    task: ScheduledTask, claim: Claim, attempt: int, seconds: float, error: BaseException | None
) -> None:
    known = {
        "task": task.name,
        "due_at": claim.due_at.isoformat(),
        "attempt": attempt,
        "seconds": round(seconds, 3),
    }
    if error is None:
        log.info("scheduler.task_ran", **known)
    elif isinstance(error, ServiceError):
        log.warning("scheduler.task_failed", error=_safe_text(error), **known)
    else:
        log.error("scheduler.task_failed", error=_safe_text(error), exc_info=error, **known)


def _passes_by_itself(error: BaseException) -> bool:
    return isinstance(error, ServiceError) and error.code is ErrorCode.UNAVAILABLE


def _outcome(error: BaseException | None) -> RunOutcome:
    if error is None:
        return RunOutcome.SUCCEEDED
    return RunOutcome.TIMED_OUT if isinstance(error, TaskTimedOut) else RunOutcome.FAILED


def _safe_text(error: BaseException) -> str:
    """Return the class, and the message where it was written for others to see."""
    name = type(error).__name__
    return f"{name}: {error.message}" if isinstance(error, ServiceError) else name
