"""Show what the same work would have cost elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from cost_service.domain.report_days import checked_period_days
from cost_service.domain.savings import Savings
from cost_service.usecases.ports import UnitOfWorkFactory
from service_kit.access import AccessChecks
from service_kit.request_context import Caller


@dataclass(frozen=True, slots=True)
class GetSavings:
    """Compares a project's charges with those of every target and model that has a price."""

    access: AccessChecks
    unit_of_work: UnitOfWorkFactory

    async def __call__(self, caller: Caller, project_id: str, period_days: int) -> Savings:
        """Return the savings of 1 to 366 days; 0 means 30.

        An empty `project_id` means the caller's default project.
        """
        days = checked_period_days(period_days)
        project = await self.access.require(caller, project_id, "costs:read")
        async with self.unit_of_work() as work:
            await work.see_one_moment()
            return await work.comparisons.savings(project.project_id, days)
