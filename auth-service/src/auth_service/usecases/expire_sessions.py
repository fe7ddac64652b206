"""Remove login sessions that are over."""

from __future__ import annotations

from dataclasses import dataclass

from auth_service.usecases.ports import UnitOfWorkFactory
from service_kit.clock import Clock


@dataclass(frozen=True, slots=True)
class ExpireSessions:
    """Deletes sessions past their end, revoked or not: no token of theirs is worth anything.

    What happened in them is in the audit log. Each batch is a transaction, short enough for
    a refresh that waits for one of its rows.
    """

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    batch: int = 1000

    async def __call__(self) -> int:
        """Return how many were deleted."""
        now = self.clock.now()
        deleted = 0
        while True:
            async with self.unit_of_work() as work:
                count = await work.sessions.delete_expired(now, self.batch)
            deleted += count
            if count < self.batch:
                return deleted
