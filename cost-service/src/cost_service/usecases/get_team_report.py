"""Report what a team's work cost."""

from __future__ import annotations

from dataclasses import dataclass

from cost_service.domain.cost_reports import CostReport
from cost_service.domain.names import require_id
from cost_service.domain.periods import checked_period_days
from cost_service.usecases.ports import UnitOfWorkFactory


@dataclass(frozen=True, slots=True)
class GetTeamReport:
    """Returns a team's costs over all of its projects, for platform administrators.

    Who is in a team is not known yet, so nobody else may ask; whether the caller is an
    administrator is checked before.
    """

    unit_of_work: UnitOfWorkFactory

    async def __call__(self, team_id: str, period_days: int) -> CostReport:
        """Return the report of 1 to 366 days; 0 means 30. An unknown team has cost nothing."""
        require_id("team_id", team_id)
        days = checked_period_days(period_days)
        async with self.unit_of_work() as work:
            await work.see_one_moment()
            return await work.cost_reports.of_team(team_id, days)
