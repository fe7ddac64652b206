"""What telling a job's events needs from the outside."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from job_service.domain.answer import Entry
from job_service.domain.job_events import LifecycleRecord


@dataclass(frozen=True, slots=True)
class DeltaBatch:
    """Deltas of one attempt to be written, one text each: the first is number `after` + 1.

    A snapshot has one text, which stands for everything up to and with that number.
    """

    job_id: str
    attempt: int
    after: int
    texts: tuple[str, ...]
    keep_seconds: int
    is_snapshot: bool = False

    @property
    def last(self) -> int:
        return self.after + len(self.texts)


class DeltaWrite(Enum):
    """What became of a batch.

    WRITTEN     it is there, perhaps since an earlier try
    WIPED       what the attempt wrote before is gone; nothing was written
    SUPERSEDED  a later attempt writes for this job; nothing was written
    """

    WRITTEN = "written"
    WIPED = "wiped"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class DeltaPosition:
    job_id: str
    attempt: int
    number: int


class DeltaStore(Protocol):
    """Redis: answers of running jobs, which may be wiped at any moment."""

    async def write(
        self, batches: Sequence[DeltaBatch], changed: Collection[str]
    ) -> Sequence[DeltaWrite]:
        """Write batches, each whole or not at all, and hint at them in every replica.

        Args:
            batches: At most one for each attempt.
            changed: Jobs that have new lifecycle events, to be hinted at as well.

        Raises:
            Unavailable: Redis is away. A batch may have been written nevertheless.
        """
        ...

    async def read(
        self, positions: Sequence[DeltaPosition], limit: int
    ) -> Sequence[Sequence[Entry]]:
        """Return, for each position, up to `limit` entries of the attempt that follow it.

        Raises:
            Unavailable: Redis is away.
        """
        ...


class LifecycleLog(Protocol):
    """Lifecycle events in Postgres."""

    async def latest(
        self, seen: Mapping[str, int], limit: int
    ) -> Mapping[str, Sequence[LifecycleRecord]]:
        """Return the last `limit` events of each job that are newer than what was seen of it.

        Args:
            seen: The last `seq` that is known, by job.
            limit: The most events of one job.

        Raises:
            Unavailable: The database is away.
        """
        ...

    async def page(self, job_id: str, after: int, limit: int) -> Sequence[LifecycleRecord]:
        """Return the first `limit` events of a job after one.

        Raises:
            Unavailable: The database is away.
        """
        ...

    async def around(self, job_id: str, seq: int) -> Sequence[LifecycleRecord]:
        """Return a job's event `seq`, its newest change of state up to that, and its last event.

        They come in their order. What there is none of is left out.

        Raises:
            Unavailable: The database is away.
        """
        ...


class FeedMetrics(Protocol):
    def watched(self, jobs: int, readers: int) -> None:
        """Note how many jobs are watched here, and by how many readers."""
        ...

    def gap_told(self) -> None: ...
