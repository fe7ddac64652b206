"""What a reader of a job is told, and where it is in that."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from job_service.domain.errors import EventCursorInvalid
from job_service.domain.job import Job
from job_service.domain.job_state import FINAL_STATES, JobState

_STATES: Final = frozenset(JobState)
_CURSOR: Final = re.compile(r"([1-9][0-9]{0,9})(?:\.(0|[1-9][0-9]{0,9})-(0|[1-9][0-9]{0,15}))?")
_GREATEST_SEQ: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class LifecycleRecord:
    """A change of a job as it is stored. Its `seq` counts from 1 without holes."""

    seq: int
    type: str
    details: Mapping[str, str | int]
    occurred_at: datetime

    @property
    def changes_state(self) -> bool:
        return self.type in _STATES

    @property
    def begun_attempt(self) -> int:
        """The attempt that begins with this; 0 where none does."""
        return int(self.details["attempt"]) if self.type == JobState.RUNNING else 0

    @property
    def is_final(self) -> bool:
        return self.type in FINAL_STATES

    @property
    def admission(self) -> int | None:
        """The admission that is over with this; `None` where it was told before they were named."""
        named = self.details.get("admission")
        return None if named is None else int(named)

    @property
    def delta_count(self) -> int | None:
        """How many deltas the attempt had that ended; `None` where nobody could tell any more."""
        count = self.details.get("deltas")
        return None if count is None else int(count)


@dataclass(frozen=True, slots=True)
class AnswerDelta:
    """A piece of the answer, numbered within its attempt from 1."""

    attempt: int
    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Gap:
    """These deltas can't be had any more. A snapshot follows."""

    attempt: int
    first_missing: int
    last_missing: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The answer of an attempt so far, in place of its deltas up to `number`."""

    attempt: int
    number: int
    text: str


@dataclass(frozen=True, slots=True)
class JobEnded:
    """Nothing follows."""

    job: Job


JobEvent = LifecycleRecord | AnswerDelta | Gap | Snapshot | JobEnded


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a reader is: changes up to `seq`, deltas of the running attempt up to `number`.

    Written `4` while nothing runs, `5.2-0` once attempt 2 runs, `5.2-15` after its 15th delta,
    and `6.0-0` when the reader knows that change 6 was the last.
    """

    seq: int = 0
    attempt: int = 0
    number: int = 0
    knows_end: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the cursor that was given out as `text`; the beginning for an empty one.

        Raises:
            EventCursorInvalid: No cursor looks like this.
        """
        if not text:
            return cls()
        match = _CURSOR.fullmatch(text)
        if match is None or int(match[1]) > _GREATEST_SEQ:
            raise EventCursorInvalid()
        if match[2] is None:
            return cls(int(match[1]))
        attempt, number = int(match[2]), int(match[3])
        if attempt == 0 and number != 0:
            raise EventCursorInvalid()
        return cls(int(match[1]), attempt, number, knows_end=attempt == 0)

    def __str__(self) -> str:
        if self.attempt == 0 and not self.knows_end:
            return str(self.seq or "")
        return f"{self.seq}.{self.attempt}-{self.number}"

    def after_change(self, record: LifecycleRecord) -> Cursor:
        """Return where a reader is that has been told of this change as well."""
        if record.changes_state:
            return Cursor(record.seq, record.begun_attempt)
        return Cursor(record.seq, self.attempt, self.number)

    def after_deltas(self, number: int) -> Cursor:
        """Return where a reader is that has the running attempt's deltas up to `number`."""
        return Cursor(self.seq, self.attempt, number)

    def at_end(self) -> Cursor:
        return Cursor(self.seq, knows_end=True)

    def is_possible(self, around: Sequence[LifecycleRecord]) -> bool:
        """Tell whether a reader of the job can be here.

        Args:
            around: Of the job's changes, in their order, at least change `seq`, the newest
                change of state up to it, and the last of all.
        """
        until = [record for record in around if record.seq <= self.seq]
        if not until or until[-1].seq != self.seq:
            return False
        if self.knows_end:
            return until[-1].is_final
        states = [record for record in until if record.changes_state]
        if self.attempt != (states[-1].begun_attempt if states else 0):
            return False
        count = around[-1].delta_count
        ended_other = around[-1].details.get("attempt") != self.attempt
        return count is None or ended_other or self.number <= count


@dataclass(frozen=True, slots=True)
class Told:
    """An event, and where to resume after it."""

    event: JobEvent
    cursor: Cursor
