"""Dead letters, as they are stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from job_service.domain.dead_letter import DeadLetterFilter, Evidence
from job_service.domain.job import Job


@dataclass(frozen=True, slots=True)
class DeadLetterPosition:
    """A place among a project's dead letters, in the order in which they died."""

    completed_at: datetime
    job_id: str


class DeadLetterRepository(Protocol):
    """Jobs that Weir gave up on and nobody has purged."""

    async def list_page(
        self, which: DeadLetterFilter, limit: int, after: DeadLetterPosition | None
    ) -> Sequence[Job]:
        """Return dead letters, those that died last first, without messages and results."""
        ...

    async def oldest(
        self,
        which: DeadLetterFilter,
        limit: int,
        after: DeadLetterPosition | None,
        died_by: datetime | None,
    ) -> Sequence[DeadLetterPosition]:
        """Return up to `limit` dead letters, in the order in which they died.

        Those up to `after`, and those that died later than `died_by`, are left out.
        """
        ...

    async def evidence(self, job_id: str, limit: int) -> Evidence:
        """Return what is known of a job of any project: `limit` attempts and changes at most."""
        ...

    async def purge(self, job_id: str) -> None:
        """Remove for good what a locked dead letter contained, and every text about it."""
        ...
