"""The runs of periodic work in memory, by a clock that a test moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from service_kit.clock import Clock
from service_kit.errors import Unavailable
from service_kit.schedule import Run, RunOutcome, ScheduledTask, TaskStatus
from service_kit.scheduled_runs import KEPT, Claim, Ending


@dataclass(frozen=True, slots=True)
class _Row:
    run: Run
    token: str
    lease_expires_at: datetime


class MemoryRuns:
    """See `scheduled_runs.PostgresRuns`. While `away`, every method raises `Unavailable`."""

    def __init__(self, clock: Clock) -> None:
        self.away = False
        self._clock = clock
        self._rows: dict[tuple[str, datetime], _Row] = {}

    async def now(self) -> datetime:
        self._check()
        return self._clock.now()

    async def find(self, task: str, due_at: datetime) -> Run | None:
        self._check()
        row = self._rows.get((task, due_at))
        return None if row is None else replace(row.run, lapsed=self._is_lapsed(row))

    async def claim(self, claim: Claim, max_attempts: int) -> int | None:
        self._check()
        now = self._clock.now()
        for (task, due_at), row in self._rows.items():
            if task == claim.task and due_at != claim.due_at and self._is_under_way(row):
                return None
        old = self._rows.get((claim.task, claim.due_at))
        if old and not (self._is_lapsed(old) and old.run.attempt < max_attempts):
            return None
        attempt = old.run.attempt + 1 if old else 1
        error = old.run.error if old else None
        run = Run(claim.task, claim.due_at, attempt, started_at=now, error=error)
        self._rows[claim.task, claim.due_at] = _Row(run, claim.token, now + claim.lease)
        return attempt

    async def finish(self, claim: Claim, ending: Ending) -> bool:
        self._check()
        row = self._own(claim)
        if row is None:
            return False
        run = replace(
            row.run,
            finished_at=self._clock.now(),
            outcome=ending.outcome,
            duration_seconds=ending.duration_seconds,
            error=ending.error,
        )
        self._rows[claim.task, claim.due_at] = replace(row, run=run)
        for task, due_at in list(self._rows):
            if task == claim.task and due_at < claim.due_at - KEPT:
                del self._rows[task, due_at]
        return True

    async def hand_back(self, claim: Claim, pause: timedelta, error: str) -> bool:
        self._check()
        row = self._own(claim)
        if row is None:
            return False
        self._rows[claim.task, claim.due_at] = replace(
            row, run=replace(row.run, error=error), lease_expires_at=self._clock.now() + pause
        )
        return True

    async def abandon(self, task: str, due_at: datetime, max_attempts: int) -> int:
        self._check()
        given_up = [
            (key, row)
            for key, row in self._rows.items()
            if key[0] == task
            and self._is_lapsed(row)
            and (key[1] < due_at or row.run.attempt >= max_attempts)
        ]
        for key, row in given_up:
            run = replace(
                row.run,
                finished_at=self._clock.now(),
                outcome=RunOutcome.ABANDONED,
                error=row.run.error or "Nobody finished it.",
            )
            self._rows[key] = replace(row, run=run)
        return len(given_up)

    async def statuses(self, tasks: Sequence[ScheduledTask]) -> Sequence[TaskStatus]:
        now = await self.now()
        return [
            TaskStatus(
                task=task.name,
                schedule=str(task.schedule),
                next_due_at=task.schedule.next_due(now),
                running_since=max(
                    (row.run.started_at for row in self._of(task) if self._is_under_way(row)),
                    default=None,
                ),
                last_run=max(
                    (row.run for row in self._of(task) if row.run.finished_at is not None),
                    key=lambda run: run.due_at,
                    default=None,
                ),
            )
            for task in tasks
        ]

    def _of(self, task: ScheduledTask) -> list[_Row]:
        return [row for (name, _), row in self._rows.items() if name == task.name]

    def _own(self, claim: Claim) -> _Row | None:
        row = self._rows.get((claim.task, claim.due_at))
        ours = row is not None and row.token == claim.token and row.run.finished_at is None
        return row if ours else None

    def _is_lapsed(self, row: _Row) -> bool:
        return row.run.finished_at is None and row.lease_expires_at <= self._clock.now()

    def _is_under_way(self, row: _Row) -> bool:
        return row.run.finished_at is None and row.lease_expires_at > self._clock.now()

    def _check(self) -> None:
        if self.away:
            raise Unavailable("database")
