"""What happens to a job, as it is told while it happens."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from gateway.entrypoints.schemas.base import View
from gateway.entrypoints.schemas.jobs import JobView

EventKind = Literal["lifecycle", "delta", "gap", "snapshot", "ended"]


class LifecycleView(View):
    """A change of the job, numbered without holes."""

    seq: int
    type: str
    details: dict[str, str]
    occurred_at: datetime


class DeltaView(View):
    """A piece of the answer, numbered within its attempt from 1."""

    attempt: int
    number: int
    text: str


class GapView(View):
    """Deltas that were lost, from the first to the last; a snapshot follows."""

    attempt: int
    first_missing: int
    last_missing: int


class SnapshotView(View):
    """The whole answer of an attempt so far, in place of all its deltas up to `number`."""

    attempt: int
    number: int
    text: str


class EndedView(View):
    """The final state. Nothing follows."""

    job: JobView
