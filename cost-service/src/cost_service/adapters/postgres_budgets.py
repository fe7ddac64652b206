"""Allowances, allocations and the budgets of each month in Postgres."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from cost_service.adapters.postgres_holds import PERIOD_NOW
from cost_service.domain.allowance import Allowance
from cost_service.domain.budget import Allocation, Budget
from cost_service.domain.budget_scope import BudgetScope

_MAKE_ALLOWANCE: Final = text(
    "INSERT INTO allowances (user_id, amount_nanousd) VALUES (:user_id, :amount) "
    "ON CONFLICT (user_id) DO NOTHING"
)
_LOCK_ALLOWANCE: Final = text(
    "SELECT user_id, amount_nanousd, allocated_nanousd FROM allowances "
    "WHERE user_id = :user_id FOR UPDATE"
)
# A statement of its own, after the lock: the one that waits for the lock would see the caps and
# holds from before the wait. Later months than ours count too: one that began at midnight may have
# had the lock before us, and what it left spent is not ours to give away.
_OVERSPENT: Final = text(
    f"""
    SELECT a.scope_kind, a.scope_id,
           max(CAST(b.reserved_nanousd AS numeric) + b.posted_nanousd) - a.cap_nanousd AS overspent
    FROM allocations a
    JOIN budgets b ON b.scope_kind = a.scope_kind AND b.scope_id = a.scope_id
                  AND b.period >= {PERIOD_NOW}
    WHERE a.owner_user_id = :user_id
      AND CAST(b.reserved_nanousd AS numeric) + b.posted_nanousd > a.cap_nanousd
    GROUP BY a.scope_kind, a.scope_id
    """  # noqa: S608
)
_SAVE_ALLOWANCE: Final = text(
    "UPDATE allowances SET amount_nanousd = :amount, allocated_nanousd = :allocated "
    "WHERE user_id = :user_id"
)
_FIND_ALLOCATION: Final = (
    "SELECT owner_user_id, cap_nanousd FROM allocations "
    "WHERE scope_kind = :scope_kind AND scope_id = :scope_id"
)
_READ_ALLOCATION: Final = text(_FIND_ALLOCATION)
_LOCK_ALLOCATION: Final = text(f"{_FIND_ALLOCATION} FOR UPDATE")
_SAVE_ALLOCATION: Final = text(
    "INSERT INTO allocations (scope_kind, scope_id, owner_user_id, cap_nanousd) "
    "VALUES (:scope_kind, :scope_id, :owner_user_id, :cap) "
    "ON CONFLICT (scope_kind, scope_id) DO UPDATE SET cap_nanousd = excluded.cap_nanousd"
)
_OPEN_MONTH: Final = (
    "INSERT INTO budgets (scope_kind, scope_id, period, cap_nanousd) "  # noqa: S608
    f"VALUES (:scope_kind, :scope_id, {PERIOD_NOW}, :cap) "
    "ON CONFLICT (scope_kind, scope_id, period)"
)
_ENSURE_MONTH: Final = text(f"{_OPEN_MONTH} DO NOTHING")
_SET_CAP: Final = text(
    f"{_OPEN_MONTH} DO UPDATE SET cap_nanousd = excluded.cap_nanousd "
    "RETURNING period, cap_nanousd, reserved_nanousd, posted_nanousd"
)
_FIND_BUDGET: Final = text(
    f"""
    SELECT now_period.period, a.scope_id IS NOT NULL AS has_budget,
           coalesce(b.cap_nanousd, a.cap_nanousd) AS cap_nanousd,
           coalesce(b.reserved_nanousd, 0) AS reserved_nanousd,
           coalesce(b.posted_nanousd, 0) AS posted_nanousd
    FROM (SELECT {PERIOD_NOW} AS period) now_period
    LEFT JOIN allocations a ON a.scope_kind = :scope_kind AND a.scope_id = :scope_id
    LEFT JOIN budgets b ON b.scope_kind = a.scope_kind AND b.scope_id = a.scope_id
                       AND b.period = now_period.period
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
        found = await self._session.execute(_OVERSPENT, {"user_id": user_id})
        overspent = {(one.scope_kind, one.scope_id): int(one.overspent) for one in found}
        return Allowance(row.user_id, row.amount_nanousd, row.allocated_nanousd, overspent)

    async def save(self, allowance: Allowance) -> None:
        await self._session.execute(
            _SAVE_ALLOWANCE,
            {
                "user_id": allowance.user_id,
                "amount": allowance.amount_nanousd,
                "allocated": allowance.allocated_nanousd,
            },
        )


class PostgresAllocations:
    """The `Allocations` port. A scope's owner is whose allowance pays, and stays that."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find(self, scope: BudgetScope) -> Allocation | None:
        found = await self._session.execute(_READ_ALLOCATION, _key(scope))
        return _to_allocation(scope, found.one_or_none())

    async def find_for_update(self, scope: BudgetScope) -> Allocation | None:
        found = await self._session.execute(_LOCK_ALLOCATION, _key(scope))
        return _to_allocation(scope, found.one_or_none())

    async def save(self, allocation: Allocation) -> None:
        scope = allocation.scope
        await self._session.execute(
            _SAVE_ALLOCATION,
            {
                **_key(scope),
                "owner_user_id": scope.owner_user_id,
                "cap": allocation.cap_nanousd,
            },
        )


class PostgresBudgets:
    """The `Budgets` port."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find(self, scope: BudgetScope) -> Budget:
        row = (await self._session.execute(_FIND_BUDGET, _key(scope))).one()
        if not row.has_budget:
            return Budget(scope, row.period, has_budget=False)
        return _to_budget(scope, row)

    async def open_month(self, allocation: Allocation) -> None:
        await self._session.execute(
            _ENSURE_MONTH, {**_key(allocation.scope), "cap": allocation.cap_nanousd}
        )

    async def set_cap(self, allocation: Allocation) -> Budget:
        found = await self._session.execute(
            _SET_CAP, {**_key(allocation.scope), "cap": allocation.cap_nanousd}
        )
        return _to_budget(allocation.scope, found.one())


def _key(scope: BudgetScope) -> dict[str, str]:
    return {"scope_kind": scope.kind.value, "scope_id": scope.scope_id}


def _to_allocation(scope: BudgetScope, row: Row[Any] | None) -> Allocation | None:
    if row is None:
        return None
    return Allocation(BudgetScope(scope.kind, scope.scope_id, row.owner_user_id), row.cap_nanousd)


def _to_budget(scope: BudgetScope, row: Row[Any]) -> Budget:
    return Budget(
        scope, row.period, True, row.cap_nanousd, row.reserved_nanousd, row.posted_nanousd
    )
