"""What the services do by themselves."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from gateway.entrypoints.schemas.base import View

RunOutcome = Literal["succeeded", "failed", "timed_out", "abandoned"]


class ScheduledRunView(View):
    """A run that is over.

    `error` is a class of errors, and a sentence where there is one that may be shown; `attempt`
    is more than 1 where a replica died in the middle, or something was away.
    """

    due_at: datetime
    started_at: datetime
    finished_at: datetime
    duration_seconds: float | None
    outcome: RunOutcome
    error: str | None
    attempt: int


class ScheduledTaskView(View):
    """Work that one replica of a service does at each due time."""

    service: str
    task: str
    schedule: str
    next_due_at: datetime
    running_since: datetime | None
    last_run: ScheduledRunView | None


class SchedulerView(View):
    """Every scheduled task."""

    tasks: list[ScheduledTaskView]
