"""Tell verifiers which tokens to refuse before their time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from auth_service.domain.denial import Denial
from auth_service.usecases.ports import UnitOfWorkFactory
from service_kit.clock import Clock

# Far below the 4 MiB of a message; who wants more asks again.
BATCH = 10_000


@dataclass(frozen=True, slots=True)
class ListDenials:
    """Returns what was denied since a sequence number, oldest first."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock

    async def __call__(self, after_sequence: int) -> Sequence[Denial]:
        """Return up to 10,000 denials that have not expired; an empty answer means no more."""
        async with self.unit_of_work() as work:
            return await work.denials.list_after(after_sequence, self.clock.now(), BATCH)
