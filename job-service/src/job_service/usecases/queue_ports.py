"""What the use cases need to know of all that waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from job_service.domain.job import Job


@dataclass(frozen=True, slots=True)
class BlockedLane:
    """Blocked jobs that wait for the same budgets: of a project, and of one of its API keys.

    `api_key_id` is empty for what people submitted themselves.
    """

    project_id: str
    api_key_id: str


class QueueRepository(Protocol):
    """Queued jobs that do not run."""

    async def lock(self, project_id: str) -> None:
        """Keep everybody else who calls this for the project waiting until the transaction ends.

        Raises:
            Unavailable: Somebody had it for too long.
        """
        ...

    async def count(self, project_id: str, at_most: int) -> int:
        """Count a project's jobs that wait for a hold, a place, a retry or a budget."""
        ...

    async def blocked_lanes(self) -> Sequence[BlockedLane]:
        """Return every lane that has a blocked job."""
        ...

    async def first_blocked(self, lane: BlockedLane) -> Job | None:
        """Return the blocked job of a lane that comes next: highest priority, then oldest."""
        ...

    async def lock_blocked_for(self, seconds: float, limit: int) -> Sequence[Job]:
        """Return jobs that are blocked for longer, longest first, locked.

        Those that others have locked are left out.
        """
        ...
