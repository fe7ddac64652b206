"""Set what a project, a team or an API key may spend in each period."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from cost_service.domain.budget import Budget, BudgetDefaults
from cost_service.domain.names import MAX_NANOUSD
from cost_service.domain.period import PeriodKind
from cost_service.usecases.actor import actor_of
from cost_service.usecases.budget_owner import WRITE, BudgetOwner, OwnerChecks
from cost_service.usecases.lock_cap import lock_cap
from cost_service.usecases.ports import UnitOfWorkFactory
from service_kit.errors import InvalidArgument
from service_kit.request_context import Caller

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SetBudget:
    """Sets a cap from the current period on: a project's month out of its owner's allowance."""

    owners: OwnerChecks
    unit_of_work: UnitOfWorkFactory
    defaults: BudgetDefaults

    async def __call__(
        self,
        caller: Caller,
        owner: BudgetOwner,
        cap_nanousd: int,
        period_kind: PeriodKind = PeriodKind.MONTHLY,
    ) -> Budget:
        """Return the current period's budget with the new cap.

        Raises:
            AllowanceExceeded: The owner's allowance does not cover it.
            PermissionDenied: The caller may not set budgets there.
            ServiceError: `PROJECT_NOT_FOUND`, `TEAM_NOT_FOUND` or `API_KEY_NOT_FOUND`.
        """
        owner.require_named()
        if not 0 <= cap_nanousd <= MAX_NANOUSD:
            raise InvalidArgument("cap_nanousd", "The cap must not be negative.")
        scope = await self.owners.require(caller, owner, WRITE)
        async with self.unit_of_work() as work:
            cap = await lock_cap(work, scope, period_kind, self.defaults)
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
            period_kind=period_kind,
            cap_nanousd=cap_nanousd,
            **{scope.kind.id_name: scope.scope_id},
        )
        return budget
