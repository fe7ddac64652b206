"""Show what a project may still spend in this month."""

from __future__ import annotations

from dataclasses import dataclass

from cost_service.domain.budget import Budget
from cost_service.domain.budget_scope import BudgetScope, BudgetScopeKind
from cost_service.usecases.ports import UnitOfWorkFactory
from service_kit.access import AccessChecks
from service_kit.request_context import Caller


@dataclass(frozen=True, slots=True)
class GetBudget:
    """Returns a project's budget of the current month."""

    access: AccessChecks
    unit_of_work: UnitOfWorkFactory

    async def __call__(self, caller: Caller, project_id: str) -> Budget:
        """Return the budget; an empty `project_id` means the caller's default project."""
        project = await self.access.require(caller, project_id, "costs:read")
        async with self.unit_of_work() as work:
            return await work.budgets.find(BudgetScope(BudgetScopeKind.PROJECT, project.project_id))
