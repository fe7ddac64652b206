"""List when the spending of a project, a team or an API key came to a level of a cap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cost_service.domain.budget_alert import BudgetAlert
from cost_service.usecases.budget_owner import READ, BudgetOwner, OwnerChecks
from cost_service.usecases.ports import UnitOfWorkFactory
from service_kit.errors import InvalidArgument
from service_kit.paging import decode_page_token, encode_page_token, page_size
from service_kit.request_context import Caller

_BEFORE_ALL: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class ListBudgetAlerts:
    """Lists the alerts of a project, a team or a key, newest first."""

    owners: OwnerChecks
    unit_of_work: UnitOfWorkFactory

    async def __call__(
        self, caller: Caller, owner: BudgetOwner, requested_size: int, page_token: str
    ) -> tuple[Sequence[BudgetAlert], str]:
        """Return a page of alerts, and the token of the next page or ""."""
        scope = await self.owners.require(caller, owner, READ)
        size = page_size(requested_size)
        query = ("budget_alerts", *scope.key)
        match decode_page_token(page_token, scope=query):
            case None:
                before = _BEFORE_ALL
            case [int(alert_id)] if 0 <= alert_id <= _BEFORE_ALL:
                before = alert_id
            case _:
                raise InvalidArgument(
                    "page_token", "This page token does not belong to this query."
                )
        async with self.unit_of_work() as work:
            found = await work.alerts.list_before(scope, before, size + 1)
        page, more = found[:size], len(found) > size
        return page, encode_page_token([page[-1].alert_id], scope=query) if more else ""
