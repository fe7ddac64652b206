"""Suggest what could make a project's work cheaper."""

from __future__ import annotations

from dataclasses import dataclass

from cost_service.domain.budget_scope import BudgetScope, BudgetScopeKind
from cost_service.domain.report_days import checked_period_days
from cost_service.domain.suggestions import ObservedWork, Suggestion, suggestions_for
from cost_service.usecases.ports import UnitOfWorkFactory
from service_kit.access import AccessChecks
from service_kit.request_context import Caller


@dataclass(frozen=True, slots=True)
class ProjectSuggestions:
    """What is suggested to a project, from its last `period_days` days."""

    project_id: str
    period_days: int
    suggestions: tuple[Suggestion, ...]


@dataclass(frozen=True, slots=True)
class GetSuggestions:
    """Lets every rule look at a project's work, all of one moment."""

    access: AccessChecks
    unit_of_work: UnitOfWorkFactory

    async def __call__(
        self, caller: Caller, project_id: str, period_days: int
    ) -> ProjectSuggestions:
        """Return what the work of 1 to 366 days suggests; 0 means 30.

        An empty `project_id` means the caller's default project.
        """
        days = checked_period_days(period_days)
        project = await self.access.require(caller, project_id, "costs:read")
        scope = BudgetScope(BudgetScopeKind.PROJECT, project.project_id)
        async with self.unit_of_work() as work:
            await work.see_one_moment()
            monthly, *_ = await work.budgets.list_current(scope)
            seen = ObservedWork(
                report=await work.cost_reports.of_project(project.project_id, days),
                savings=await work.comparisons.savings(project.project_id, days),
                facts=await work.comparisons.facts(project.project_id, days),
                budget=monthly,
            )
        return ProjectSuggestions(project.project_id, days, suggestions_for(seen))
