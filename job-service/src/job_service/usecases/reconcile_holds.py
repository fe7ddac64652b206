"""Void holds that no live job stands behind."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from job_service.domain.settlement import orphan_settlement
from job_service.usecases.ledger_ports import Ledger, OpenHold
from job_service.usecases.ports import Hints, JobMetrics, UnitOfWorkFactory
from service_kit.clock import Clock

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReconcileHolds:
    """One round over the holds that have been open for longer than `min_age_seconds`."""

    unit_of_work: UnitOfWorkFactory
    ledger: Ledger
    hints: Hints
    metrics: JobMetrics
    clock: Clock
    min_age_seconds: float

    async def __call__(self) -> int:
        """Return how many holds were without a live job."""
        found = 0
        asked_at = self.clock.monotonic()
        for hold in await self.ledger.open_holds(self.min_age_seconds):
            found += await self._reconcile(hold, asked_at)
        if found:
            self.hints.settlement_waits()
        return found

    async def _reconcile(self, hold: OpenHold, asked_at: float) -> bool:
        job_id = hold.hold_id.rpartition(":")[0]
        async with self.unit_of_work() as work:
            job = await work.jobs.lock(job_id)
            void = orphan_settlement(hold.hold_id, job)
            if void is None:
                return False
            added = await work.settlements.add(void)
            # A settlement that was taken long before we asked, and left its hold open, got lost
            # over there. One that was taken since has closed it: under load a round takes a while.
            since = self.clock.monotonic() - asked_at
            again = not added and await work.settlements.resend(
                hold.hold_id, self.min_age_seconds + since
            )
        if added or again:
            log.warning("hold.orphaned", hold_id=hold.hold_id, voided=added, sent_again=again)
            self.metrics.orphan_hold()
        return added or again
