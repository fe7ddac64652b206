"""Count everybody's sessions anew."""

from __future__ import annotations

from dataclasses import dataclass

from auth_service.usecases.ports import UnitOfWorkFactory
from service_kit.clock import Clock


@dataclass(frozen=True, slots=True)
class RecountSessions:
    """Stores with each user how many of their sessions could still be refreshed.

    The figure is for whoever looks at many users at once, and as old as the last recount;
    a person's own account counts live. Each batch of users is a transaction.
    """

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    batch: int = 1000

    async def __call__(self) -> None:
        now = self.clock.now()
        last: str | None = None
        while True:
            async with self.unit_of_work() as work:
                last = await work.users.recount_sessions(now, after=last, limit=self.batch)
            if last is None:
                return
