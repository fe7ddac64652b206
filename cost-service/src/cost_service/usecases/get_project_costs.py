"""Show what a project was charged."""

from __future__ import annotations

from dataclasses import dataclass

from cost_service.domain.costs import DayCost, ProjectCosts
from cost_service.usecases.get_project_report import GetProjectReport
from service_kit.request_context import Caller


@dataclass(frozen=True, slots=True)
class GetProjectCosts:
    """Returns a project's charges of the last days, in total and by day: part of its report."""

    get_project_report: GetProjectReport

    async def __call__(self, caller: Caller, project_id: str, period_days: int) -> ProjectCosts:
        """Return the costs of 1 to 366 days up to now; 0 means 30."""
        found, report = await self.get_project_report(caller, project_id, period_days)
        return ProjectCosts(
            project_id=found,
            period_days=report.period_days,
            total_cost_nanousd=report.total.cost_nanousd,
            total_jobs=report.total.jobs,
            completed_jobs=report.total.completed_jobs,
            failed_jobs=report.total.failed_jobs,
            days=tuple(
                DayCost(day.name, day.sums.cost_nanousd, day.sums.jobs)
                for day in report.days
                if day.sums.cost_nanousd
            ),
        )
