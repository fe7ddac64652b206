"""Give up jobs whose budget had no room for them for too long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import structlog

from job_service.usecases.ports import Hints, JobMetrics, UnitOfWorkFactory
from job_service.usecases.store_change import StoreChange

log = structlog.get_logger(__name__)

BATCH: Final = 100
BUDGET_WAIT_EXPIRED: Final = "BUDGET_WAIT_EXPIRED"


@dataclass(frozen=True, slots=True)
class ExpireBlocked:
    """One round: fails every job that was blocked for longer than `max_seconds`.

    Any replica may do it, and each job ends once. A hold that is granted at the same moment is let
    go by the void that comes with the end.
    """

    unit_of_work: UnitOfWorkFactory
    hints: Hints
    metrics: JobMetrics
    store_change: StoreChange
    max_seconds: float

    async def __call__(self) -> int:
        """Return how many jobs were given up.

        Raises:
            Unavailable: The database is away; what was given up before stays so.
        """
        expired = 0
        while True:
            found, ended = await self._batch()
            expired += ended
            if found < BATCH:
                return expired

    async def _batch(self) -> tuple[int, int]:
        ended = []
        message = f"No budget had room for it within {self.max_seconds:.0f} seconds."
        async with self.unit_of_work() as work:
            blocked = await work.queue.lock_blocked_for(self.max_seconds, BATCH)
            for job in blocked:
                given_up = job.rejected(BUDGET_WAIT_EXPIRED, message)
                stored = await self.store_change(work, job, given_up)
                if stored is not None:
                    ended.append(stored)
        for job in ended:
            log.info("job.budget_wait_expired", job_id=job.id, project_id=job.project_id)
            self.metrics.job_changed(job.kind, job.state)
        if ended:
            self.hints.settlement_waits()
        return len(blocked), len(ended)
