"""Remove denials that no token needs any more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from auth_service.usecases.ports import UnitOfWorkFactory
from service_kit.clock import Clock

# No two clocks of an installation are that far apart.
MARGIN: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ExpireDenials:
    """Deletes denials that expired a day ago: every token concerned is refused by its own end.

    No verifier misses them, since `ListDenials` has not told them for that day, neither to those
    that were there nor to those that started later. Sequences go on where they were.
    """

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    batch: int = 1000

    async def __call__(self) -> int:
        """Return how many were deleted."""
        before = self.clock.now() - MARGIN
        deleted = 0
        while True:
            async with self.unit_of_work() as work:
                count = await work.denials.delete_expired(before, self.batch)
            deleted += count
            if count < self.batch:
                return deleted
