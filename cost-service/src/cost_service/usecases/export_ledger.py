"""Hand out a project's ledger entries."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from cost_service.domain.ledger_entry import LedgerEntry
from cost_service.domain.report_days import day_range
from cost_service.usecases.ports import UnitOfWorkFactory
from service_kit.access import AccessChecks
from service_kit.clock import Clock
from service_kit.request_context import Caller

PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class ExportLedger:
    """Gives the entries of some days in the order of booking.

    Each page is a transaction of its own, so a slow reader holds no connection; what is booked
    meanwhile in the last of the days may be among them.
    """

    access: AccessChecks
    unit_of_work: UnitOfWorkFactory
    clock: Clock

    async def __call__(
        self, caller: Caller, project_id: str, first_day: str, last_day: str, *, ran_only: bool
    ) -> AsyncIterator[Sequence[LedgerEntry]]:
        """Yield pages of entries, from `first_day` to `last_day`, both `YYYY-MM-DD` and included.

        Without a last day it is today; without a first one, 29 days before the last. `ran_only`
        leaves those of settlements of jobs that ran somewhere.

        Raises:
            InvalidArgument: One is no day, or they are too many.
            PermissionDenied: The caller may not see costs there.
            ServiceError: `PROJECT_NOT_FOUND`.
        """
        days = day_range(first_day, last_day, self.clock.now().date())
        project = await self.access.require(caller, project_id, "costs:read")
        after = None
        while True:
            async with self.unit_of_work() as work:
                page = await work.exports.page(
                    project.project_id, days, after, PAGE, ran_only=ran_only
                )
            if page:
                yield page
            if len(page) < PAGE:
                return
            after = (page[-1].booked_at, page[-1].entry_id)
