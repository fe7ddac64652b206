"""Where a job stands. docs/jobs.md draws how one state leads to the next."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class JobState(StrEnum):
    """Where a job stands.

    ADMITTING    its row exists, its hold perhaps not yet; everybody else sees `pending`
    BLOCKED      its budget refused the hold; it is tried again
    PENDING      held, waiting for a place to run
    RUNNING      somebody holds its lease
    RETRYING     an attempt failed; it waits for its backoff, hold kept
    COMPLETED    final: answered, charged
    FAILED       final: it would fail again, or nobody waits for it any more
    DEAD_LETTER  final: retries used up, or lost too often
    CANCELLED    final: somebody did not want it any more

    A person may retry queued work from the last three: a new admission, `ADMITTING` again.
    """

    ADMITTING = "admitting"
    BLOCKED = "blocked"
    PENDING = "pending"
    RUNNING = "running"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"
    DEAD_LETTER = "dead_letter"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self in FINAL_STATES


FINAL_STATES: Final = frozenset(
    {JobState.COMPLETED, JobState.FAILED, JobState.DEAD_LETTER, JobState.CANCELLED}
)
CLAIMABLE_STATES: Final = frozenset({JobState.PENDING, JobState.RETRYING})
