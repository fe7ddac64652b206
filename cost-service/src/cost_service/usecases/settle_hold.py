"""Post or void a hold, once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import structlog

from cost_service.domain.settlement import Booking, EntryKind, Settlement
from cost_service.usecases.ports import CostMeter, UnitOfWorkFactory
from cost_service.usecases.tell_alerts import tell_alerts
from service_kit.errors import Unavailable
from service_kit.failpoints import failpoint

log = structlog.get_logger(__name__)

_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class SettleHold:
    """Books a charge or a release, and lets the hold's reserve go.

    A settlement is never refused for what it says about the job: a settlement that can't be
    booked would come back for ever. What is charged beyond the hold is cut off and reported.
    """

    unit_of_work: UnitOfWorkFactory
    meter: CostMeter

    async def __call__(self, settlement: Settlement) -> bool:
        """Return whether this call booked it; false if the hold had been settled before."""
        booking = await self._book(settlement)
        if not booking.booked:
            self.meter.settlement_repeated()
            return False
        self.meter.settlement_booked(settlement, booking)
        tell_alerts(self.meter, booking.alerts)
        _report(settlement, booking)
        return True

    async def _book(self, settlement: Settlement) -> Booking:
        for _ in range(_ATTEMPTS):
            async with self.unit_of_work() as work:
                booking = await work.ledger.settle(settlement)
                if booking is None:
                    booking = await work.ledger.settle_unknown(settlement)
                if booking is not None:
                    await failpoint("before_post_commit")
            if booking is not None:
                await failpoint("after_post_commit")
                return booking
            # The hold was committed between the two statements: now it is known.
        raise Unavailable("hold")


def _report(settlement: Settlement, booking: Booking) -> None:
    if booking.excess_nanousd:
        log.error(
            "ledger.post_exceeds_hold",
            hold_id=settlement.hold_id,
            charged_nanousd=booking.charged_nanousd,
            excess_nanousd=booking.excess_nanousd,
        )
    if not booking.had_hold and settlement.kind is EntryKind.POST:
        log.error(
            "ledger.post_without_hold",
            hold_id=settlement.hold_id,
            charged_nanousd=booking.charged_nanousd,
        )
