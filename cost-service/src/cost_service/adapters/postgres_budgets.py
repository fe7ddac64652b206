"""Allowances, caps and the budgets of each period in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from cost_service.adapters.limits import DAY_NOW, PERIOD_NOW, PERIODS_NOW, wanted
from cost_service.domain.allowance import Allowance
from cost_service.domain.budget import Budget, Cap
from cost_service.domain.budget_scope import BudgetScope
from cost_service.domain.period import PeriodKind

_MAKE_ALLOWANCE: Final = text(
    "INSERT INTO allowances (user_id, amount_nanousd) VALUES (:user_id, :amount) "
    "ON CONFLICT (user_id) DO NOTHING"
)
_FIND_ALLOWANCE: Final = (
    "SELECT user_id, amount_nanousd, allocated_nanousd FROM allowances WHERE user_id = :user_id"
)
_READ_ALLOWANCE: Final = text(_FIND_ALLOWANCE)
_LOCK_ALLOWANCE: Final = text(f"{_FIND_ALLOWANCE} FOR UPDATE")
# A statement of its own, after the lock: the one that waits for the lock would see the caps and
# holds from before the wait. Later months than ours count too: one that began at midnight may have
# had the lock before us, and what it left spent is not ours to give away.
_OVERSPENT: Final = text(
    f"""
    SELECT a.scope_kind, a.scope_id,
           max(CAST(b.reserved_nanousd AS numeric) + b.posted_nanousd) - a.cap_nanousd AS overspent
    FROM allocations a
    JOIN budgets b ON b.scope_kind = a.scope_kind AND b.scope_id = a.scope_id
                  AND b.period_kind = 'monthly' AND b.period >= {PERIOD_NOW}
    WHERE a.owner_user_id = :user_id
      AND CAST(b.reserved_nanousd AS numeric) + b.posted_nanousd > a.cap_nanousd
    GROUP BY a.scope_kind, a.scope_id
    """  # noqa: S608
)
_SAVE_ALLOWANCE: Final = text(
    "UPDATE allowances SET amount_nanousd = :amount, allocated_nanousd = :allocated "
    "WHERE user_id = :user_id"
)
_PERIOD: Final = (
    f"CASE CAST(:period_kind AS text) WHEN 'monthly' THEN {PERIOD_NOW} "
    f"WHEN 'daily' THEN {DAY_NOW} ELSE 'total' END"
)
_OPEN: Final = (
    "INSERT INTO budgets (scope_kind, scope_id, period_kind, period, cap_nanousd) "  # noqa: S608
    f"VALUES (:scope_kind, :scope_id, :period_kind, {_PERIOD}, :cap) "
    "ON CONFLICT (scope_kind, scope_id, period)"
)
_ENSURE: Final = text(f"{_OPEN} DO NOTHING")
_SET_CAP: Final = text(
    f"{_OPEN} DO UPDATE SET cap_nanousd = excluded.cap_nanousd "
    "RETURNING period_kind, period, true AS has_budget, "
    "cap_nanousd, reserved_nanousd, posted_nanousd"
)
# Ours may have begun before midnight, and the next period been opened since with the old cap.
_SET_LATER_CAPS: Final = text(
    "UPDATE budgets SET cap_nanousd = :cap "
    "WHERE scope_kind = :scope_kind AND scope_id = :scope_id "
    "AND period_kind = :period_kind AND period > :period"
)
_FIND_BUDGETS: Final = text(
    f"""
    WITH bounds AS (
        SELECT w.scope_kind, w.scope_id, p.period_kind, p.period,
               coalesce(a.cap_nanousd, c.cap_nanousd,
                        CASE p.period_kind WHEN 'monthly' THEN CAST(:default_cap AS bigint) END
               ) AS cap_nanousd
        {wanted(PERIODS_NOW, needs_month="true")}
    )
    SELECT bounds.period_kind, bounds.period, bounds.cap_nanousd IS NOT NULL AS has_budget,
           bounds.cap_nanousd,
           coalesce(b.reserved_nanousd, 0) AS reserved_nanousd,
           coalesce(b.posted_nanousd, 0) AS posted_nanousd
    FROM bounds LEFT JOIN budgets b USING (scope_kind, scope_id, period)
    ORDER BY bounds.period
    """  # noqa: S608
)


class PostgresAllowances:
    """The `Allowances` port."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get_for_update(self, user_id: str, default_nanousd: int) -> Allowance:
        await self._session.execute(
            _MAKE_ALLOWANCE, {"user_id": user_id, "amount": default_nanousd}
        )
        row = (await self._session.execute(_LOCK_ALLOWANCE, {"user_id": user_id})).one()
        return await self._allowance(row)

    async def find(self, user_id: str, default_nanousd: int) -> Allowance:
        row = (await self._session.execute(_READ_ALLOWANCE, {"user_id": user_id})).one_or_none()
        if row is None:
            return Allowance(user_id, default_nanousd, 0)
        return await self._allowance(row)

    async def save(self, allowance: Allowance) -> None:
        await self._session.execute(
            _SAVE_ALLOWANCE,
            {
                "user_id": allowance.user_id,
                "amount": allowance.amount_nanousd,
                "allocated": allowance.allocated_nanousd,
            },
        )

    async def _allowance(self, row: Row[Any]) -> Allowance:
        found = await self._session.execute(_OVERSPENT, {"user_id": row.user_id})
        overspent = {(one.scope_kind, one.scope_id): int(one.overspent) for one in found}
        return Allowance(row.user_id, row.amount_nanousd, row.allocated_nanousd, overspent)


class PostgresBudgets:
    """The `Budgets` port."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def list_current(
        self, scope: BudgetScope, default_cap_nanousd: int | None = None
    ) -> Sequence[Budget]:
        found = await self._session.execute(
            _FIND_BUDGETS,
            {
                "kinds": [scope.kind.value],
                "ids": [scope.scope_id],
                "default_cap": default_cap_nanousd,
            },
        )
        return [_to_budget(scope, row) for row in found]

    async def open_period(self, cap: Cap) -> None:
        await self._session.execute(_ENSURE, _values(cap))

    async def set_cap(self, cap: Cap) -> Budget:
        row = (await self._session.execute(_SET_CAP, _values(cap))).one()
        await self._session.execute(_SET_LATER_CAPS, {**_values(cap), "period": row.period})
        return _to_budget(cap.scope, row)


def _values(cap: Cap) -> dict[str, str | int]:
    return {
        "scope_kind": cap.scope.kind.value,
        "scope_id": cap.scope.scope_id,
        "period_kind": cap.period_kind.value,
        "cap": cap.cap_nanousd,
    }


def _to_budget(scope: BudgetScope, row: Row[Any]) -> Budget:
    kind = PeriodKind(row.period_kind)
    if not row.has_budget:
        return Budget(scope, kind, row.period, has_budget=False)
    return Budget(
        scope, kind, row.period, True, row.cap_nanousd, row.reserved_nanousd, row.posted_nanousd
    )
