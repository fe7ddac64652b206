"""Report what a project's work cost."""

from __future__ import annotations

from dataclasses import dataclass

from cost_service.domain.cost_reports import CostReport
from cost_service.domain.report_days import checked_period_days
from cost_service.usecases.ports import UnitOfWorkFactory
from service_kit.access import AccessChecks
from service_kit.request_context import Caller


@dataclass(frozen=True, slots=True)
class GetProjectReport:
    """Returns a project's costs of the last days, in total and by what they were for."""

    access: AccessChecks
    unit_of_work: UnitOfWorkFactory

    async def __call__(
        self, caller: Caller, project_id: str, period_days: int
    ) -> tuple[str, CostReport]:
        """Return the project that is meant, and its report of 1 to 366 days; 0 means 30.

        An empty `project_id` means the caller's default project.

        Raises:
            PermissionDenied: The caller may not see costs there.
            ServiceError: `PROJECT_NOT_FOUND`.
        """
        days = checked_period_days(period_days)
        project = await self.access.require(caller, project_id, "costs:read")
        async with self.unit_of_work() as work:
            await work.see_one_moment()
            return project.project_id, await work.cost_reports.of_project(project.project_id, days)
