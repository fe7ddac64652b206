"""Take an optional cap of a project away."""

from __future__ import annotations

from dataclasses import dataclass

from cost_service.domain.budget_scope import BudgetScope, BudgetScopeKind
from cost_service.domain.names import require_id
from cost_service.domain.period import PeriodKind
from cost_service.usecases.actor import actor_of
from cost_service.usecases.ports import UnitOfWorkFactory
from service_kit.access import AccessChecks
from service_kit.errors import InvalidArgument
from service_kit.request_context import Caller


@dataclass(frozen=True, slots=True)
class ClearBudget:
    """Removes a project's daily or total cap. What is held under it is settled under it."""

    access: AccessChecks
    unit_of_work: UnitOfWorkFactory

    async def __call__(self, caller: Caller, project_id: str, period_kind: PeriodKind) -> None:
        """Remove the cap; where there is none, nothing happens.

        Raises:
            InvalidArgument: The monthly budget, which a project must have.
            PermissionDenied: The caller may not set budgets there.
            ServiceError: `PROJECT_NOT_FOUND`.
        """
        require_id("project_id", project_id)
        if period_kind is PeriodKind.MONTHLY:
            raise InvalidArgument(
                "period", "The monthly budget stays; set it to 0 to stop all spending."
            )
        project = await self.access.require(caller, project_id, "budgets:write")
        scope = BudgetScope(BudgetScopeKind.PROJECT, project.project_id, project.owner_user_id)
        async with self.unit_of_work() as work:
            if await work.caps.remove(scope, period_kind):
                await work.audit.add(
                    "budget.cleared",
                    actor=actor_of(caller),
                    subject=str(scope),
                    details={"period_kind": period_kind},
                )
