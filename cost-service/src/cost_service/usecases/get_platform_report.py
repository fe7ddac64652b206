"""Report what everything cost."""

from __future__ import annotations

from dataclasses import dataclass

from cost_service.domain.cost_reports import CostReport
from cost_service.domain.report_days import checked_period_days
from cost_service.usecases.ports import UnitOfWorkFactory


@dataclass(frozen=True, slots=True)
class GetPlatformReport:
    """Returns the costs of all projects, and which are the dearest, for platform administrators.

    Whether the caller is one is checked before.
    """

    unit_of_work: UnitOfWorkFactory

    async def __call__(self, period_days: int) -> CostReport:
        """Return the report of 1 to 366 days; 0 means 30."""
        days = checked_period_days(period_days)
        async with self.unit_of_work() as work:
            await work.see_one_moment()
            return await work.cost_reports.of_platform(days)
