"""Show what a project was charged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cost_service.domain.costs import ProjectCosts
from cost_service.usecases.ports import UnitOfWorkFactory
from service_kit.access import AccessChecks
from service_kit.errors import InvalidArgument
from service_kit.request_context import Caller

DEFAULT_DAYS: Final = 30
MAX_DAYS: Final = 366


@dataclass(frozen=True, slots=True)
class GetProjectCosts:
    """Returns a project's charges of the last days, in total and by day."""

    access: AccessChecks
    unit_of_work: UnitOfWorkFactory

    async def __call__(self, caller: Caller, project_id: str, period_days: int) -> ProjectCosts:
        """Return the costs of 1 to 366 days up to now; 0 means 30."""
        days = period_days or DEFAULT_DAYS
        if not 1 <= days <= MAX_DAYS:
            raise InvalidArgument("period_days", f"The period must be 1 to {MAX_DAYS} days.")
        project = await self.access.require(caller, project_id, "costs:read")
        async with self.unit_of_work() as work:
            return await work.reports.project_costs(project.project_id, days)
