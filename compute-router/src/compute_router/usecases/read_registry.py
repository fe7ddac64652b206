"""Read the registry that routers share."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from compute_router.usecases.ports import WorkerStore
from compute_router.usecases.worker_fleet import WorkerFleet
from service_kit.errors import Unavailable

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReadRegistry:
    """Learns of workers that announced themselves to another router."""

    fleet: WorkerFleet
    store: WorkerStore

    async def __call__(self) -> None:
        """Read it once. While it is away, the workers known so far go on serving."""
        try:
            stored = await self.store.list()
        except Unavailable as error:
            if not self.fleet.registry_away:
                log.warning("registry.away", reason=error.reason)
            self.fleet.registry_away = True
            return
        if self.fleet.registry_away:
            log.info("registry.back", workers=len(stored))
        self.fleet.read(stored)
