"""Show what a project, a team or an API key may still spend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cost_service.domain.budget import Budget, BudgetDefaults
from cost_service.domain.period import PeriodKind
from cost_service.usecases.budget_owner import READ, BudgetOwner, OwnerChecks
from cost_service.usecases.ports import UnitOfWorkFactory
from service_kit.request_context import Caller


@dataclass(frozen=True, slots=True)
class GetBudget:
    """Returns the budgets of the current periods."""

    owners: OwnerChecks
    unit_of_work: UnitOfWorkFactory
    defaults: BudgetDefaults

    async def __call__(self, caller: Caller, owner: BudgetOwner) -> Sequence[Budget]:
        """Return the month's budget, set or not, and then the daily and total one where set.

        A team that never worked is shown with the default cap, which its first hold will meet. An
        owner that names nothing means the caller's default project.
        """
        scope = await self.owners.require(caller, owner, READ)
        default = self.defaults.cap_of(scope, PeriodKind.MONTHLY)
        async with self.unit_of_work() as work:
            return await work.budgets.list_current(scope, default)
