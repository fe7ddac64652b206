"""Let a worker announce itself, or renew."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import structlog

from compute_router.domain.errors import ForeignWorkerId
from compute_router.domain.worker import Worker
from compute_router.usecases.ports import WorkerStore
from compute_router.usecases.worker_fleet import WorkerFleet
from service_kit.errors import Unavailable

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RegisterWorker:
    """Makes a worker known to this router, and to the others through the registry."""

    fleet: WorkerFleet
    store: WorkerStore
    lease: timedelta

    async def __call__(self, certified_id: str, worker: Worker) -> timedelta:
        """Return how long the registration holds. Without the registry it holds here.

        Raises:
            ForeignWorkerId: The certificate names another worker.
        """
        if not certified_id or certified_id != worker.worker_id:
            raise ForeignWorkerId(worker.worker_id)
        self.fleet.announce(worker, self.lease)
        try:
            await self.store.save(worker, self.lease)
        except Unavailable as error:
            log.warning("registry.write_failed", reason=error.reason, worker_id=worker.worker_id)
        return self.lease
