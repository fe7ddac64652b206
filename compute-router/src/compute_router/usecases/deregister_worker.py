"""Let a worker go."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from compute_router.domain.errors import ForeignWorkerId
from compute_router.usecases.ports import WorkerStore
from compute_router.usecases.worker_fleet import WorkerFleet
from service_kit.errors import Unavailable

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DeregisterWorker:
    """Takes a worker out, so that it gets no new work. What runs there goes on."""

    fleet: WorkerFleet
    store: WorkerStore

    async def __call__(self, certified_id: str, worker_id: str) -> None:
        """Forget the worker; one that is not known is forgotten already.

        Raises:
            ForeignWorkerId: The certificate names another worker.
        """
        if not certified_id or certified_id != worker_id:
            raise ForeignWorkerId(worker_id)
        self.fleet.remove(worker_id)
        try:
            await self.store.remove(worker_id)
        except Unavailable as error:
            # It expires there by itself, and refuses work until then.
            log.warning("registry.write_failed", reason=error.reason, worker_id=worker_id)
