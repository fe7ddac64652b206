"""What reports need from the ledger, in their own words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from cost_service.domain.cost_reports import CostReport
from cost_service.domain.ledger_entry import LedgerEntry
from cost_service.domain.report_days import DayRange
from cost_service.domain.savings import Savings
from cost_service.domain.suggestions import WorkFacts


class CostReports(Protocol):
    """Sums over a period that ends now, by the database's clock."""

    async def of_project(self, project_id: str, period_days: int) -> CostReport: ...

    async def of_team(self, team_id: str, period_days: int) -> CostReport: ...

    async def of_platform(self, period_days: int) -> CostReport:
        """Return the report of everything, with the ten dearest projects and teams."""
        ...


class WorkComparisons(Protocol):
    """The work of a period beside what it could have been."""

    async def savings(self, project_id: str, period_days: int) -> Savings: ...

    async def facts(self, project_id: str, period_days: int) -> WorkFacts: ...


class LedgerExports(Protocol):
    """Entries one by one, in the order of booking."""

    async def page(
        self,
        project_id: str,
        days: DayRange,
        after: tuple[datetime, int] | None,
        limit: int,
        *,
        ran_only: bool,
    ) -> Sequence[LedgerEntry]:
        """Return entries from after (booked_at, entry_id) on.

        `ran_only` leaves those of settlements of jobs that ran somewhere.
        """
        ...
