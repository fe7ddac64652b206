"""Tell cost-service how jobs ended. Nothing else posts or voids a hold."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from job_service.domain.settlement import Settlement
from job_service.usecases.ledger_ports import Ledger
from job_service.usecases.ports import JobMetrics, UnitOfWorkFactory
from service_kit.errors import ErrorCode, ServiceError
from service_kit.failpoints import failpoint

log = structlog.get_logger(__name__)

BATCH: Final = 50
AT_ONCE: Final = 16
AWAY_SECONDS: Final = 1.0
MAX_BACKOFF_SECONDS: Final = 300.0
_AWAY: Final = frozenset(
    {ErrorCode.UNAVAILABLE, ErrorCode.DEADLINE_EXCEEDED, ErrorCode.CANCELLED, ErrorCode.ABORTED}
)


@dataclass(frozen=True, slots=True)
class RelaySettlements:
    """One round: send what is due, at least once each.

    Args:
        claim_seconds: How long a batch is kept from other replicas. If it takes longer, or its
            relay is killed, another one sends it as well, and the ledger books once.
    """

    unit_of_work: UnitOfWorkFactory
    ledger: Ledger
    metrics: JobMetrics
    claim_seconds: float

    async def __call__(self) -> int:
        """Return how many settlements were sent."""
        sent = 0
        while True:
            async with self.unit_of_work() as work:
                batch = await work.settlements.claim(BATCH, self.claim_seconds)
            if not batch:
                return sent
            gate = asyncio.Semaphore(AT_ONCE)
            errors = await asyncio.gather(*(self._send(each, gate) for each in batch))
            failed = await self._note(batch, errors)
            sent += len(batch) - failed
            if failed:
                return sent

    async def _send(self, settlement: Settlement, gate: asyncio.Semaphore) -> ServiceError | None:
        async with gate:
            await failpoint("before_settlement_post")
            try:
                booked = await self.ledger.settle(settlement)
            except ServiceError as error:
                return error
            await failpoint("after_settlement_post")
        if not booked:
            log.info("settlement.was_booked", hold_id=settlement.hold_id)
        return None

    async def _note(
        self, batch: Sequence[Settlement], errors: Sequence[ServiceError | None]
    ) -> int:
        taken = [each.hold_id for each, error in zip(batch, errors, strict=True) if error is None]
        async with self.unit_of_work() as work:
            if taken:
                await work.settlements.mark_sent(taken)
            for each, error in zip(batch, errors, strict=True):
                if error is not None:
                    await work.settlements.postpone(
                        each.hold_id, f"{error.reason}: {error.message}", self._pause(each, error)
                    )
        return len(batch) - len(taken)

    def _pause(self, settlement: Settlement, error: ServiceError) -> float:
        if error.code in _AWAY:
            return AWAY_SECONDS
        log.error(
            "settlement.refused",
            hold_id=settlement.hold_id,
            reason=error.reason,
            error=error.message,
            attempts=settlement.attempts,
        )
        self.metrics.settlement_refused()
        return min(MAX_BACKOFF_SECONDS, 2.0 ** min(settlement.attempts, 16))
