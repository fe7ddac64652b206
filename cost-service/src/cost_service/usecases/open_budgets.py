"""Give scopes the rows of the current periods, from their caps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cost_service.domain.allowance import Allowance
from cost_service.domain.budget import BudgetDefaults, Cap
from cost_service.domain.budget_scope import BudgetScope, BudgetScopeKind
from cost_service.domain.period import PeriodKind
from cost_service.usecases.ports import UnitOfWork, UnitOfWorkFactory


@dataclass(frozen=True, slots=True)
class OpenBudgets:
    """Opens the periods of every scope; a default project and a team get a cap at first use.

    Rows are locked in the order allowances, allocations, caps, budgets, and by scope within these,
    as everywhere else, so that nobody waits in a circle.
    """

    unit_of_work: UnitOfWorkFactory
    defaults: BudgetDefaults

    async def __call__(self, scopes: tuple[BudgetScope, ...]) -> BudgetScope | None:
        """Return the first scope that needs a budget and can't have one."""
        async with self.unit_of_work() as work:
            projects = [scope for scope in scopes if scope.kind is BudgetScopeKind.PROJECT]
            allocated = await self._allocated(work, projects)
            caps = [*allocated]
            for scope in scopes:
                caps += await self._capped(work, scope)
            for one in sorted(caps, key=_lock_order):
                # A charge without a hold may have opened the period, with nothing to spend.
                write = work.budgets.set_cap if one.is_new else work.budgets.open_period
                await write(one.cap)
        has_budget = {one.cap.scope.key for one in allocated}
        return next((scope for scope in projects if scope.key not in has_budget), None)

    async def _allocated(
        self, work: UnitOfWork, projects: Sequence[BudgetScope]
    ) -> Sequence[_Found]:
        without = [scope for scope in projects if await work.allocations.find(scope) is None]
        allowances = await self._allowances(work, without)
        found: list[_Found] = []
        for scope in projects:
            allocation = await work.allocations.find_for_share(scope)
            if allocation is not None:
                found.append(_Found(allocation, is_new=False))
            elif scope.default_cap:
                allocation = await self._allocate(work, scope, allowances)
                found += [_Found(allocation, is_new=True)] if allocation else []
        return found

    async def _allowances(
        self, work: UnitOfWork, without: Sequence[BudgetScope]
    ) -> dict[str, Allowance]:
        owners = sorted({scope.owner_user_id for scope in without if scope.default_cap})
        return {
            owner: await work.allowances.get_for_update(owner, self.defaults.allowance_nanousd)
            for owner in owners
        }

    async def _allocate(
        self, work: UnitOfWork, scope: BudgetScope, allowances: dict[str, Allowance]
    ) -> Cap | None:
        allowance = allowances[scope.owner_user_id]
        cap_nanousd = allowance.default_cap(self.defaults.project_cap_nanousd)
        if cap_nanousd == 0:
            return None
        allowances[scope.owner_user_id] = allowance.reallocated(scope, 0, cap_nanousd)
        allocation = Cap(scope, PeriodKind.MONTHLY, cap_nanousd)
        await work.allowances.save(allowances[scope.owner_user_id])
        await work.allocations.save(allocation)
        await work.audit.add(
            "budget.default_allocated",
            actor=f"user:{scope.owner_user_id}",
            subject=str(scope),
            details={"cap_nanousd": cap_nanousd},
        )
        return allocation

    async def _capped(self, work: UnitOfWork, scope: BudgetScope) -> Sequence[_Found]:
        caps = await work.caps.list_for_share(scope)
        found = [_Found(cap, is_new=False) for cap in caps]
        default = self.defaults.cap_of(scope, PeriodKind.MONTHLY)
        if default is not None and not any(cap.period_kind is PeriodKind.MONTHLY for cap in caps):
            cap = await work.caps.add(Cap(scope, PeriodKind.MONTHLY, default))
            found.append(_Found(cap, is_new=True))
        return found


@dataclass(frozen=True, slots=True)
class _Found:
    cap: Cap
    is_new: bool


def _lock_order(found: _Found) -> tuple[tuple[str, str], int]:
    return found.cap.scope.key, tuple(PeriodKind).index(found.cap.period_kind)
