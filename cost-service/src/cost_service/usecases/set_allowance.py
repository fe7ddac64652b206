"""Set what a user may allocate to budgets."""

from __future__ import annotations

from dataclasses import dataclass, replace

import structlog

from cost_service.domain.allowance import Allowance
from cost_service.domain.names import MAX_NANOUSD, require_id
from cost_service.usecases.actor import actor_of
from cost_service.usecases.platform_admin import require_platform_admin
from cost_service.usecases.ports import UnitOfWorkFactory
from service_kit.errors import InvalidArgument
from service_kit.request_context import Caller

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SetAllowance:
    """Changes a user's allowance; caps that are set stay, also where it no longer covers them."""

    unit_of_work: UnitOfWorkFactory
    default_allowance_nanousd: int

    async def __call__(self, caller: Caller, user_id: str, amount_nanousd: int) -> Allowance:
        """Return the allowance as it is now.

        Raises:
            PermissionDenied: The caller is no platform administrator.
        """
        require_platform_admin(caller, "allowances:write")
        require_id("user_id", user_id)
        if not 0 <= amount_nanousd <= MAX_NANOUSD:
            raise InvalidArgument("amount_nanousd", "The amount must not be negative.")
        async with self.unit_of_work() as work:
            before = await work.allowances.get_for_update(user_id, self.default_allowance_nanousd)
            after = replace(before, amount_nanousd=amount_nanousd)
            await work.allowances.save(after)
            await work.audit.add(
                "allowance.set",
                actor=actor_of(caller),
                subject=f"user {user_id}",
                details={
                    "before_nanousd": before.amount_nanousd,
                    "amount_nanousd": amount_nanousd,
                },
            )
        log.info("allowance.set", user_id=user_id, amount_nanousd=amount_nanousd)
        return after
