"""Report what a team's work cost."""

from __future__ import annotations

from dataclasses import dataclass

from cost_service.domain.cost_reports import CostReport
from cost_service.domain.names import require_id
from cost_service.domain.report_days import checked_period_days
from cost_service.usecases.budget_owner import READ, BudgetOwner, OwnerChecks
from cost_service.usecases.platform_admin import is_platform_admin
from cost_service.usecases.ports import UnitOfWorkFactory
from service_kit.request_context import Caller


@dataclass(frozen=True, slots=True)
class GetTeamReport:
    """Returns a team's costs over all of its projects, for its members and administrators."""

    owners: OwnerChecks
    unit_of_work: UnitOfWorkFactory

    async def __call__(
        self, caller: Caller, team_id: str, period_days: int
    ) -> tuple[str, CostReport]:
        """Return the team that is meant, and its report of 1 to 366 days; 0 means 30.

        To administrators, an unknown team has cost nothing.

        Raises:
            PermissionDenied: The caller is an API key, or may not see the team's costs.
            ServiceError: `TEAM_NOT_FOUND`.
        """
        require_id("team_id", team_id)
        days = checked_period_days(period_days)
        if not is_platform_admin(caller):
            team = await self.owners.require(caller, BudgetOwner(team_id=team_id), READ)
            team_id = team.scope_id
        async with self.unit_of_work() as work:
            await work.see_one_moment()
            return team_id, await work.cost_reports.of_team(team_id, days)
