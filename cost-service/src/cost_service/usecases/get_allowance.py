"""Show what a user may allocate to budgets."""

from __future__ import annotations

from dataclasses import dataclass

from cost_service.domain.allowance import Allowance
from cost_service.domain.names import require_id
from cost_service.usecases.platform_admin import require_platform_admin
from cost_service.usecases.ports import UnitOfWorkFactory
from service_kit.request_context import Caller


@dataclass(frozen=True, slots=True)
class GetAllowance:
    """Returns a user's allowance: one's own, or, for platform administrators, anybody's."""

    unit_of_work: UnitOfWorkFactory
    default_allowance_nanousd: int

    async def __call__(self, caller: Caller, user_id: str) -> Allowance:
        """Return the allowance; the default for a user who has allocated nothing yet.

        Raises:
            PermissionDenied: It is somebody else's, and the caller is no platform administrator.
        """
        require_id("user_id", user_id)
        if caller.kind != "person" or caller.user_id != user_id:
            require_platform_admin(caller, "allowances:read")
        async with self.unit_of_work() as work:
            return await work.allowances.find(user_id, self.default_allowance_nanousd)
