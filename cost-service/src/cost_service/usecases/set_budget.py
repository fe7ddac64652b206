"""Set what a project may spend in each calendar month."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from cost_service.domain.budget import Allocation, Budget
from cost_service.domain.budget_scope import BudgetScope, BudgetScopeKind
from cost_service.domain.names import MAX_NANOUSD, require_id
from cost_service.usecases.ports import UnitOfWork, UnitOfWorkFactory
from service_kit.access import AccessChecks
from service_kit.errors import InvalidArgument, Unavailable
from service_kit.request_context import Caller

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SetBudget:
    """Sets a project's monthly cap out of its owner's allowance, from this month on."""

    access: AccessChecks
    unit_of_work: UnitOfWorkFactory
    default_allowance_nanousd: int

    async def __call__(self, caller: Caller, project_id: str, cap_nanousd: int) -> Budget:
        """Return the current month's budget with the new cap.

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
            before, budget = await self._set(work, scope, cap_nanousd)
            await work.audit.add(
                "budget.set",
                actor=_actor(caller),
                subject=str(scope),
                details={"before_nanousd": before, "cap_nanousd": cap_nanousd},
            )
        log.info("budget.set", project_id=scope.scope_id, cap_nanousd=cap_nanousd)
        return budget

    async def _set(
        self, work: UnitOfWork, scope: BudgetScope, cap_nanousd: int
    ) -> tuple[int, Budget]:
        known = await work.allocations.find(scope)
        # An allocation keeps counting against the allowance it was made from.
        owner = known.scope.owner_user_id if known else scope.owner_user_id
        allowance = await work.allowances.get_for_update(owner, self.default_allowance_nanousd)
        known = await work.allocations.find_for_update(scope)
        if known is not None and known.scope.owner_user_id != owner:
            raise Unavailable("budget")
        before = known.cap_nanousd if known else 0
        allocation = Allocation(known.scope if known else scope, cap_nanousd)
        await work.allowances.save(allowance.reallocated(scope, before, cap_nanousd))
        await work.allocations.save(allocation)
        return before, await work.budgets.set_cap(allocation)


def _actor(caller: Caller) -> str:
    return f"key:{caller.key_id}" if caller.kind == "api_key" else f"user:{caller.user_id}"
