"""Give scopes the rows of the current month, from their allocations."""

from __future__ import annotations

from dataclasses import dataclass

from cost_service.domain.allowance import Allowance
from cost_service.domain.budget import Allocation
from cost_service.domain.budget_scope import BudgetScope
from cost_service.usecases.ports import UnitOfWork, UnitOfWorkFactory


@dataclass(frozen=True, slots=True)
class OpenBudgets:
    """Opens the month of every scope; a default scope gets its allocation at first use.

    Rows are locked in the order allowances, allocations, budgets, and by scope within these,
    as everywhere else, so that nobody waits in a circle.
    """

    unit_of_work: UnitOfWorkFactory
    default_allowance_nanousd: int
    default_cap_nanousd: int

    async def __call__(self, scopes: tuple[BudgetScope, ...]) -> BudgetScope | None:
        """Return the first scope that needs a budget and can't have one."""
        without: list[BudgetScope] = []
        async with self.unit_of_work() as work:
            found = {scope.key: await work.allocations.find(scope) for scope in scopes}
            allowances = await self._allowances(
                work, [scope for scope in scopes if found[scope.key] is None]
            )
            for scope in scopes:
                allocation = found[scope.key] or await self._allocate(work, scope, allowances)
                if allocation is not None:
                    await work.budgets.open_month(allocation)
                elif scope.kind.needs_budget:
                    without.append(scope)
        return without[0] if without else None

    async def _allowances(
        self, work: UnitOfWork, lacking: list[BudgetScope]
    ) -> dict[str, Allowance]:
        owners = sorted({scope.owner_user_id for scope in lacking if scope.default_cap})
        return {
            owner: await work.allowances.get_for_update(owner, self.default_allowance_nanousd)
            for owner in owners
        }

    async def _allocate(
        self, work: UnitOfWork, scope: BudgetScope, allowances: dict[str, Allowance]
    ) -> Allocation | None:
        # Somebody may have allocated it while we waited for the allowance.
        allocation = await work.allocations.find_for_update(scope)
        if allocation is not None or not scope.default_cap:
            return allocation
        allowance = allowances[scope.owner_user_id]
        cap = allowance.default_cap(self.default_cap_nanousd)
        if cap == 0:
            return None
        allowances[scope.owner_user_id] = allowance.reallocated(scope, 0, cap)
        allocation = Allocation(scope, cap)
        await work.allowances.save(allowances[scope.owner_user_id])
        await work.allocations.save(allocation)
        await work.budgets.set_cap(allocation)
        await work.audit.add(
            "budget.default_allocated",
            actor=f"user:{scope.owner_user_id}",
            subject=str(scope),
            details={"cap_nanousd": cap},
        )
        return allocation
