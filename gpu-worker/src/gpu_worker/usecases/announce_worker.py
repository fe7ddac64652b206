"""Tell the router about this worker."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from gpu_worker.usecases.generate import Generate
from gpu_worker.usecases.ports import Announcement, WorkerRegistry


@dataclass(frozen=True, slots=True)
class AnnounceWorker:
    """Announces what is served here, how full it is and how fast."""

    registry: WorkerRegistry
    generate: Generate
    address: str
    device: str

    async def __call__(self) -> timedelta:
        """Announce or renew, and return how long it holds.

        Raises:
            ServiceError: No router could be told.
        """
        slots = self.generate.slots
        return await self.registry.register(
            Announcement(
                worker_id=self.generate.worker_id,
                address=self.address,
                model=self.generate.model,
                slots_total=slots.total,
                slots_busy=slots.busy,
                device=self.device,
                draining=slots.draining,
                tokens_per_second=round(self.generate.pace.tokens_per_second, 2),
            )
        )
