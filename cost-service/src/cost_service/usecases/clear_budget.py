"""Take a cap of a project, a team or an API key away."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from cost_service.domain.budget import BudgetDefaults, is_allocation
from cost_service.domain.period import PeriodKind
from cost_service.usecases.actor import actor_of
from cost_service.usecases.budget_owner import WRITE, BudgetOwner, OwnerChecks
from cost_service.usecases.lock_cap import lock_cap
from cost_service.usecases.ports import UnitOfWorkFactory
from service_kit.errors import InvalidArgument
from service_kit.request_context import Caller

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ClearBudget:
    """Removes a cap. What is held under it is settled under it.

    Without its monthly cap a key is bound by its project alone, and a team by the default.
    """

    owners: OwnerChecks
    unit_of_work: UnitOfWorkFactory
    defaults: BudgetDefaults

    async def __call__(self, caller: Caller, owner: BudgetOwner, period_kind: PeriodKind) -> None:
        """Remove the cap; where there is none, nothing happens.

        Raises:
            InvalidArgument: The monthly budget of a project, which it must have.
            PermissionDenied: The caller may not set budgets there.
            ServiceError: `PROJECT_NOT_FOUND`, `TEAM_NOT_FOUND` or `API_KEY_NOT_FOUND`.
        """
        owner.require_named()
        scope = await self.owners.require(caller, owner, WRITE)
        if is_allocation(scope, period_kind):
            raise InvalidArgument(
                "period", "The monthly budget stays; set it to 0 to stop all spending."
            )
        async with self.unit_of_work() as work:
            cap = await lock_cap(work, scope, period_kind, self.defaults)
            cleared = await cap.clear()
            if cleared:
                await work.audit.add(
                    "budget.cleared",
                    actor=actor_of(caller),
                    subject=str(scope),
                    details={"period_kind": period_kind, "before_nanousd": cap.before_nanousd},
                )
        if cleared:
            log.info(
                "budget.cleared",
                period_kind=period_kind,
                **{scope.kind.id_name: scope.scope_id},
            )
