"""Caps in Postgres: allocations, which an allowance pays for, and those that only tighten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Row, TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from cost_service.domain.budget import Cap
from cost_service.domain.budget_scope import BudgetScope
from cost_service.domain.period import PeriodKind

_FIND_ALLOCATION: Final = (
    "SELECT owner_user_id, cap_nanousd FROM allocations "
    "WHERE scope_kind = :scope_kind AND scope_id = :scope_id"
)
_READ_ALLOCATION: Final = text(_FIND_ALLOCATION)
_LOCK_ALLOCATION: Final = text(f"{_FIND_ALLOCATION} FOR UPDATE")
_SHARE_ALLOCATION: Final = text(f"{_FIND_ALLOCATION} FOR SHARE")
_SAVE_ALLOCATION: Final = text(
    "INSERT INTO allocations (scope_kind, scope_id, owner_user_id, cap_nanousd) "
    "VALUES (:scope_kind, :scope_id, :owner_user_id, :cap) "
    "ON CONFLICT (scope_kind, scope_id) DO UPDATE SET cap_nanousd = excluded.cap_nanousd"
)

_LOCK_CAP: Final = text(
    "SELECT cap_nanousd FROM caps WHERE scope_kind = :scope_kind AND scope_id = :scope_id "
    "AND period_kind = :period_kind FOR UPDATE"
)
_SHARE_CAPS: Final = text(
    "SELECT period_kind, cap_nanousd FROM caps "
    "WHERE scope_kind = :scope_kind AND scope_id = :scope_id AND cap_nanousd IS NOT NULL "
    "ORDER BY period_kind FOR SHARE"
)
_PUT_CAP: Final = (
    "INSERT INTO caps (scope_kind, scope_id, period_kind, cap_nanousd) "
    "VALUES (:scope_kind, :scope_id, :period_kind, :cap) "
    "ON CONFLICT (scope_kind, scope_id, period_kind) DO UPDATE SET cap_nanousd ="
)
_SAVE_CAP: Final = text(f"{_PUT_CAP} excluded.cap_nanousd")
_ADD_CAP: Final = text(
    f"{_PUT_CAP} coalesce(caps.cap_nanousd, excluded.cap_nanousd) RETURNING cap_nanousd"
)
_REMOVE_CAP: Final = text(
    "UPDATE caps SET cap_nanousd = NULL WHERE scope_kind = :scope_kind AND scope_id = :scope_id "
    "AND period_kind = :period_kind AND cap_nanousd IS NOT NULL RETURNING true"
)


class PostgresAllocations:
    """The `Allocations` port. A scope's owner is whose allowance pays, and stays that."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find(self, scope: BudgetScope) -> Cap | None:
        return await self._find(_READ_ALLOCATION, scope)

    async def find_for_update(self, scope: BudgetScope) -> Cap | None:
        return await self._find(_LOCK_ALLOCATION, scope)

    async def find_for_share(self, scope: BudgetScope) -> Cap | None:
        return await self._find(_SHARE_ALLOCATION, scope)

    async def save(self, cap: Cap) -> None:
        await self._session.execute(
            _SAVE_ALLOCATION,
            {
                **_key(cap.scope),
                "owner_user_id": cap.scope.owner_user_id,
                "cap": cap.cap_nanousd,
            },
        )

    async def _find(self, query: TextClause, scope: BudgetScope) -> Cap | None:
        row: Row[Any] | None = (await self._session.execute(query, _key(scope))).one_or_none()
        if row is None:
            return None
        owned = BudgetScope(scope.kind, scope.scope_id, row.owner_user_id)
        return Cap(owned, PeriodKind.MONTHLY, row.cap_nanousd)


class PostgresCaps:
    """The `Caps` port."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find_for_update(self, scope: BudgetScope, period_kind: PeriodKind) -> Cap | None:
        found = await self._session.execute(
            _LOCK_CAP, {**_key(scope), "period_kind": period_kind.value}
        )
        cap_nanousd = found.scalar_one_or_none()
        return None if cap_nanousd is None else Cap(scope, period_kind, cap_nanousd)

    async def list_for_share(self, scope: BudgetScope) -> Sequence[Cap]:
        found = await self._session.execute(_SHARE_CAPS, _key(scope))
        return [Cap(scope, PeriodKind(row.period_kind), row.cap_nanousd) for row in found]

    async def save(self, cap: Cap) -> None:
        await self._session.execute(_SAVE_CAP, _values(cap))

    async def add(self, cap: Cap) -> Cap:
        found = await self._session.execute(_ADD_CAP, _values(cap))
        return replace(cap, cap_nanousd=found.scalar_one())

    async def remove(self, scope: BudgetScope, period_kind: PeriodKind) -> bool:
        found = await self._session.execute(
            _REMOVE_CAP, {**_key(scope), "period_kind": period_kind.value}
        )
        return found.scalar_one_or_none() is not None


def _key(scope: BudgetScope) -> dict[str, str]:
    return {"scope_kind": scope.kind.value, "scope_id": scope.scope_id}


def _values(cap: Cap) -> dict[str, str | int]:
    return {
        **_key(cap.scope),
        "period_kind": cap.period_kind.value,
        "cap": cap.cap_nanousd,
    }
