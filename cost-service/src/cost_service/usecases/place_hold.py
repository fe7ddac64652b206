"""Reserve the worst case of a job before it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cost_service.domain.errors import BudgetExceeded, HoldSettled, NoBudget
from cost_service.domain.hold import Hold, HoldRequest, HoldState, ScopeGrant
from cost_service.usecases.open_budgets import OpenBudgets
from cost_service.usecases.ports import CostMeter, HoldOutcome, UnitOfWork, UnitOfWorkFactory
from service_kit.errors import Unavailable
from service_kit.failpoints import failpoint

_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class PlaceHold:
    """Places a hold in every scope and period that has a cap, or in none.

    The decision is one statement in one transaction. Only the first hold of a scope in a month or
    day needs another transaction before it, which makes the rows and decides nothing.
    """

    unit_of_work: UnitOfWorkFactory
    open_budgets: OpenBudgets
    meter: CostMeter

    async def __call__(self, request: HoldRequest) -> Hold:
        """Return the hold; the same `hold_id` again returns the first one as it is.

        Raises:
            BudgetExceeded: A scope has too little left in this month, today, or in total.
            NoBudget: A scope has no budget, and no default applies or is left.
            HoldSettled: The hold was posted or voided before.
        """
        for _ in range(_ATTEMPTS):
            hold = await self._place(request)
            if hold is not None:
                return hold
            without = await self.open_budgets(request.scopes)
            if without is not None:
                self.meter.hold_answered(HoldOutcome.NO_BUDGET)
                raise NoBudget(without, request.amount_nanousd)
        # Each time the day ended, or a cap was set, between the two transactions.
        raise Unavailable("budget of the new period")

    async def _place(self, request: HoldRequest) -> Hold | None:
        async with self.unit_of_work() as work:
            placement = await work.holds.place(request)
            if placement is None:
                return await self._find_placed(work, request.hold_id)
            if placement.refusal is not None:
                self.meter.hold_answered(HoldOutcome.BUDGET_EXCEEDED)
                raise _exceeded(placement.refusal, request.amount_nanousd)
            await failpoint("before_hold_commit")
        await failpoint("after_hold_commit")
        self.meter.hold_answered(HoldOutcome.PLACED)
        return placement.hold

    async def _find_placed(self, work: UnitOfWork, hold_id: str) -> Hold | None:
        hold = await work.holds.find(hold_id)
        if hold is None:
            return None
        if hold.state is not HoldState.HELD:
            self.meter.hold_answered(HoldOutcome.SETTLED)
            raise HoldSettled(hold.hold_id, hold.state)
        self.meter.hold_answered(HoldOutcome.REPEATED)
        return hold


def _exceeded(refusal: ScopeGrant, requested_nanousd: int) -> BudgetExceeded:
    return BudgetExceeded(
        refusal.scope,
        refusal.period_kind,
        refusal.period,
        cap_nanousd=refusal.cap_nanousd,
        reserved_nanousd=refusal.reserved_nanousd,
        posted_nanousd=refusal.posted_nanousd,
        requested_nanousd=requested_nanousd,
    )
