"""Set what a project may spend in each period."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from cost_service.domain.budget import Budget
from cost_service.domain.budget_scope import BudgetScope, BudgetScopeKind
from cost_service.domain.names import MAX_NANOUSD, require_id
from cost_service.domain.period import PeriodKind
from cost_service.usecases.actor import actor_of
from cost_service.usecases.lock_cap import lock_cap
from cost_service.usecases.ports import UnitOfWorkFactory
from service_kit.access import AccessChecks
from service_kit.errors import InvalidArgument
from service_kit.request_context import Caller

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SetBudget:
    """Sets a project's cap from the current period on: monthly out of its owner's allowance."""

    access: AccessChecks
    unit_of_work: UnitOfWorkFactory
    default_allowance_nanousd: int

    async def __call__(
        self,
        caller: Caller,
        project_id: str,
        cap_nanousd: int,
        period_kind: PeriodKind = PeriodKind.MONTHLY,
    ) -> Budget:
        """Return the current period's budget with the new cap.

        Raises:
            AllowanceExceeded: The owner's allowance does not cover it.
            PermissionDenied: The caller may not set budgets there.
            ServiceError: `PROJECT_NOT_FOUND`.
        """
        require_id("project_id", project_id)
        if not 0 <= cap_nanousd <= MAX_NANOUSD:
            raise InvalidArgument("cap_nanousd", "The cap must not be negative.")
        project = await self.access.require(caller, project_id, "budgets:write")
        scope = BudgetScope(BudgetScopeKind.PROJECT, project.project_id, project.owner_user_id)
        async with self.unit_of_work() as work:
            cap = await lock_cap(work, scope, period_kind, self.default_allowance_nanousd)
            budget = await cap.change(cap_nanousd)
            await work.audit.add(
                "budget.set",
                actor=actor_of(caller),
                subject=str(scope),
                details={
                    "period_kind": period_kind,
                    "before_nanousd": cap.before_nanousd,
                    "cap_nanousd": cap_nanousd,
                },
            )
        log.info(
            "budget.set",
            project_id=scope.scope_id,
            period_kind=period_kind,
            cap_nanousd=cap_nanousd,
        )
        return budget
