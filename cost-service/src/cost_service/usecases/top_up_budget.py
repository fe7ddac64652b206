"""Add an amount to the cap of a project, a team or an API key, once."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from cost_service.domain.budget import Budget, BudgetDefaults
from cost_service.domain.errors import BudgetNotSet
from cost_service.domain.period import PeriodKind
from cost_service.domain.top_up import DoneTopUp, TopUp
from cost_service.usecases.actor import actor_of
from cost_service.usecases.budget_owner import WRITE, BudgetOwner, OwnerChecks
from cost_service.usecases.lock_cap import LockedCap, lock_cap
from cost_service.usecases.ports import UnitOfWorkFactory
from service_kit.ids import new_id
from service_kit.request_context import Caller

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TopUpBudget:
    """Raises a cap by an amount, from the current period on."""

    owners: OwnerChecks
    unit_of_work: UnitOfWorkFactory
    defaults: BudgetDefaults

    async def __call__(
        self,
        caller: Caller,
        owner: BudgetOwner,
        amount_nanousd: int,
        period_kind: PeriodKind,
        request_id: str,
    ) -> Budget:
        """Return the budget right after; the same `request_id` again returns the same.

        Raises:
            BudgetNotSet: There is no such cap to add to.
            AllowanceExceeded: The owner's allowance does not cover it.
            IdempotencyKeyReused: The request id came with another amount or period before.
            PermissionDenied: The caller may not set budgets there.
            ServiceError: `PROJECT_NOT_FOUND`, `TEAM_NOT_FOUND` or `API_KEY_NOT_FOUND`.
        """
        owner.require_named()
        scope = await self.owners.require(caller, owner, WRITE)
        top_up = TopUp(scope, period_kind, amount_nanousd, request_id or new_id())
        async with self.unit_of_work() as work:
            # The lock first: of two equal requests, the later one finds what the other did.
            cap = await lock_cap(work, scope, period_kind, self.defaults)
            done = await work.top_ups.find(scope, top_up.request_id)
            if done is not None:
                return done.answer_to(top_up)
            return await self._add(caller, cap, top_up)

    async def _add(self, caller: Caller, cap: LockedCap, top_up: TopUp) -> Budget:
        if cap.before is None:
            raise BudgetNotSet(top_up.scope, top_up.period_kind)
        budget = await cap.change(top_up.added_to(cap.before_nanousd))
        await cap.work.top_ups.add(DoneTopUp(top_up, budget))
        await cap.work.audit.add(
            "budget.topped_up",
            actor=actor_of(caller),
            subject=str(top_up.scope),
            details={
                "period_kind": top_up.period_kind,
                "amount_nanousd": top_up.amount_nanousd,
                "cap_nanousd": budget.cap_nanousd,
            },
        )
        log.info(
            "budget.topped_up",
            period_kind=top_up.period_kind,
            amount_nanousd=top_up.amount_nanousd,
            **{top_up.scope.kind.id_name: top_up.scope.scope_id},
        )
        return budget
