"""Hold a cap, and the allowance it comes out of, for the transaction that changes it."""

from __future__ import annotations

from dataclasses import dataclass

from cost_service.domain.allowance import Allowance
from cost_service.domain.budget import Budget, BudgetDefaults, Cap, is_allocation
from cost_service.domain.budget_scope import BudgetScope
from cost_service.domain.period import PeriodKind
from cost_service.usecases.ports import UnitOfWork
from service_kit.errors import Unavailable


@dataclass(frozen=True, slots=True)
class LockedCap:
    """A cap that nobody else changes until the transaction ends; `before` is `None`: not set."""

    work: UnitOfWork
    scope: BudgetScope
    period_kind: PeriodKind
    before: Cap | None
    allowance: Allowance | None
    default_nanousd: int | None = None

    @property
    def before_nanousd(self) -> int:
        return self.before.cap_nanousd if self.before else 0

    async def change(self, cap_nanousd: int) -> Budget:
        """Set the cap, from the current period on.

        Raises:
            AllowanceExceeded: The owner's allowance does not cover it.
        """
        cap = Cap(self.scope, self.period_kind, cap_nanousd)
        if self.allowance is None:
            await self.work.caps.save(cap)
        else:
            await self.work.allowances.save(
                self.allowance.reallocated(self.scope, self.before_nanousd, cap_nanousd)
            )
            await self.work.allocations.save(cap)
        return await self.work.budgets.set_cap(cap)

    async def clear(self) -> bool:
        """Take away a cap that only tightens, and return whether that changed anything.

        Where a default holds without it, the current period has that from now on; else the
        period bounds nothing any more, and keeps the figures of what it bounded.
        """
        if self.default_nanousd is None:
            return await self.work.caps.remove(self.scope, self.period_kind)
        await self.change(self.default_nanousd)
        return self.before_nanousd != self.default_nanousd


async def lock_cap(
    work: UnitOfWork, scope: BudgetScope, period_kind: PeriodKind, defaults: BudgetDefaults
) -> LockedCap:
    """Lock allowance and cap, in this order; a cap that only tightens has no allowance.

    A default cap is taken as if it had been set, as at a first hold.
    """
    if not is_allocation(scope, period_kind):
        return await _lock_tightening(work, scope, period_kind, defaults)
    known = await work.allocations.find(scope)
    # An allocation keeps counting against the allowance it was made from.
    owner = known.scope.owner_user_id if known else scope.owner_user_id
    allowance = await work.allowances.get_for_update(owner, defaults.allowance_nanousd)
    known = await work.allocations.find_for_update(scope)
    if known is not None and known.scope.owner_user_id != owner:
        raise Unavailable("budget")
    return LockedCap(work, known.scope if known else scope, period_kind, known, allowance)


async def _lock_tightening(
    work: UnitOfWork, scope: BudgetScope, period_kind: PeriodKind, defaults: BudgetDefaults
) -> LockedCap:
    default = defaults.cap_of(scope, period_kind)
    if default is None:
        before = await work.caps.find_for_update(scope, period_kind)
    else:
        before = await work.caps.add(Cap(scope, period_kind, default))
    return LockedCap(work, scope, period_kind, before, None, default)
