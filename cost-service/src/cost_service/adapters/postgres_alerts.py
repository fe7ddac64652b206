"""Alerts of budgets in Postgres. The ledger writes them, with the charge that crosses a level."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncSession

from cost_service.domain.budget import BudgetStatus
from cost_service.domain.budget_alert import BudgetAlert
from cost_service.domain.budget_scope import BudgetScope, BudgetScopeKind
from cost_service.domain.period import PeriodKind

# Of an alert and its budget `b`.
ALERT_COLUMNS: Final = """
    alerted.alert_id, b.scope_kind, b.scope_id, b.period_kind, b.period, alerted.level,
    alerted.cap_nanousd, alerted.posted_nanousd, alerted.created_at"""

_LIST: Final = text(
    f"""
    SELECT {ALERT_COLUMNS}
    FROM budgets b JOIN budget_alerts alerted USING (budget_id)
    WHERE b.scope_kind = :scope_kind AND b.scope_id = :scope_id
      AND alerted.alert_id < CAST(:before AS bigint)
    ORDER BY alerted.alert_id DESC LIMIT :limit
    """  # noqa: S608
)


class PostgresAlerts:
    """The `Alerts` port."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def list_before(
        self, scope: BudgetScope, before: int, limit: int
    ) -> Sequence[BudgetAlert]:
        found = await self._session.execute(
            _LIST,
            {
                "scope_kind": scope.kind.value,
                "scope_id": scope.scope_id,
                "before": before,
                "limit": limit,
            },
        )
        return alerts_in(found.mappings())


def alerts_in(rows: Iterable[RowMapping]) -> tuple[BudgetAlert, ...]:
    """Return the alerts in rows that may have one each."""
    return tuple(_to_alert(row) for row in rows if row["alert_id"] is not None)


def _to_alert(row: RowMapping) -> BudgetAlert:
    return BudgetAlert(
        alert_id=row["alert_id"],
        scope=BudgetScope(BudgetScopeKind(row["scope_kind"]), row["scope_id"]),
        period_kind=PeriodKind(row["period_kind"]),
        period=row["period"],
        level=BudgetStatus(row["level"]),
        cap_nanousd=row["cap_nanousd"],
        posted_nanousd=row["posted_nanousd"],
        created_at=row["created_at"],
    )
