"""Move old entries of the audit log to its archive."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from auth_service.usecases.ports import UnitOfWorkFactory
from service_kit.clock import Clock


@dataclass(frozen=True, slots=True)
class ArchiveAuditEntries:
    """Moves what is older than the retention, oldest first; nothing is lost on the way.

    Each batch is a transaction, in which its entries are in one place or in the other.
    """

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    retention: timedelta
    batch: int = 1000

    async def __call__(self) -> int:
        """Return how many entries were moved."""
        older_than = self.clock.now() - self.retention
        moved = 0
        while True:
            async with self.unit_of_work() as work:
                count = await work.audit.archive(older_than, self.batch)
            moved += count
            if count < self.batch:
                return moved
