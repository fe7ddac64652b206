"""Show what a project may still spend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cost_service.domain.budget import Budget
from cost_service.domain.budget_scope import BudgetScope, BudgetScopeKind
from cost_service.usecases.ports import UnitOfWorkFactory
from service_kit.access import AccessChecks
from service_kit.request_context import Caller


@dataclass(frozen=True, slots=True)
class GetBudget:
    """Returns a project's budgets of the current periods."""

    access: AccessChecks
    unit_of_work: UnitOfWorkFactory

    async def __call__(self, caller: Caller, project_id: str) -> Sequence[Budget]:
        """Return the month's budget, set or not, and then the daily and total one where set.

        An empty `project_id` means the caller's default project.
        """
        project = await self.access.require(caller, project_id, "costs:read")
        async with self.unit_of_work() as work:
            return await work.budgets.list_current(
                BudgetScope(BudgetScopeKind.PROJECT, project.project_id)
            )
