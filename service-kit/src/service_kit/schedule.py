"""When periodic work is due, and what became of it.

Due times are computed, not kept: every replica comes to the same ones from the
same moment, so that "task X, due at T" names one run for all of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import Final, Protocol

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY: Final = timedelta(days=1)


class Schedule(Protocol):
    """Says when something is due. Times are UTC."""

    def latest_due(self, now: datetime) -> datetime:
        """Return the last due time that is not after `now`."""
        ...

    def next_due(self, now: datetime) -> datetime:
        """Return the first due time that is after `now`."""
        ...


@dataclass(frozen=True, slots=True)
class Every:
    """Due at each multiple of an interval since the epoch: at :00, :05, :10 for five minutes."""

    interval: timedelta

    def __post_init__(self) -> None:
        if self.interval <= timedelta(0):
            raise ValueError("an interval is longer than nothing")

    def latest_due(self, now: datetime) -> datetime:
        return _EPOCH + (now - _EPOCH) // self.interval * self.interval

    def next_due(self, now: datetime) -> datetime:
        return self.latest_due(now) + self.interval

    def __str__(self) -> str:
        return f"every {self.interval.total_seconds():g} s"


@dataclass(frozen=True, slots=True)
class DailyAt:
    """Due once a day, at a time of day in UTC, which no daylight saving moves."""

    at: time

    def latest_due(self, now: datetime) -> datetime:
        today = datetime.combine(now.astimezone(UTC).date(), self.at, UTC)
        return today if today <= now else today - _DAY

    def next_due(self, now: datetime) -> datetime:
        return self.latest_due(now) + _DAY

    def __str__(self) -> str:
        return f"daily at {self.at:%H:%M} UTC"


@dataclass(frozen=True, slots=True)
class ScheduledTask:
    """Work that some replica does at each due time.

    Args:
        name: "expire_sessions"; a label of metrics, and unique within a service.
        schedule: When it is due.
        run: The work. It may be run again for the same due time, by another
            replica even while it still runs here: it must not matter. It must
            not block the event loop, which no timeout can end.
        timeout_seconds: How long it may take. Who dies in the middle is
            followed by another a little after that.
    """

    name: str
    schedule: Schedule
    run: Callable[[], Awaitable[object]]
    timeout_seconds: float = 60.0


class RunOutcome(StrEnum):
    """How a run ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """It raised."""
    TIMED_OUT = "timed_out"
    ABANDONED = "abandoned"
    """Whoever ran it died, and it was not run again: the next one was due, or it had its tries."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a task, by the database's clock.

    `duration_seconds`, `finished_at` and `outcome` are `None` while it is open, `error`
    where there is none. `lapsed` says that it is open and that nobody holds it.
    """

    task: str
    due_at: datetime
    attempt: int
    started_at: datetime
    finished_at: datetime | None = None
    duration_seconds: float | None = None
    outcome: RunOutcome | None = None
    error: str | None = None
    lapsed: bool = False


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """What there is to know of a task.

    `last_run` is the latest run that is over, `running_since` when a replica
    began the one that is under way; `None` where there is none.
    """

    task: str
    schedule: str
    next_due_at: datetime
    running_since: datetime | None
    last_run: Run | None
