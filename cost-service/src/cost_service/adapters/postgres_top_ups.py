"""What was added to caps, in Postgres."""

from __future__ import annotations

from typing import Final

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from cost_service.adapters.tables import budget_top_ups
from cost_service.domain.budget import Budget
from cost_service.domain.budget_scope import BudgetScope
from cost_service.domain.period import PeriodKind
from cost_service.domain.top_up import DoneTopUp, TopUp

_TABLE: Final = budget_top_ups.c


class PostgresTopUps:
    """The `TopUps` port."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find(self, scope: BudgetScope, request_id: str) -> DoneTopUp | None:
        found = await self._session.execute(
            select(budget_top_ups).where(
                _TABLE.scope_kind == scope.kind.value,
                _TABLE.scope_id == scope.scope_id,
                _TABLE.request_id == request_id,
            )
        )
        row = found.one_or_none()
        if row is None:
            return None
        kind = PeriodKind(row.period_kind)
        return DoneTopUp(
            TopUp(scope, kind, row.amount_nanousd, request_id),
            Budget(
                scope,
                kind,
                row.period,
                True,
                row.cap_nanousd,
                row.reserved_nanousd,
                row.posted_nanousd,
            ),
        )

    async def add(self, done: DoneTopUp) -> None:
        top_up, budget = done.top_up, done.budget
        await self._session.execute(
            insert(budget_top_ups).values(
                scope_kind=top_up.scope.kind.value,
                scope_id=top_up.scope.scope_id,
                request_id=top_up.request_id,
                period_kind=top_up.period_kind.value,
                period=budget.period,
                amount_nanousd=top_up.amount_nanousd,
                cap_nanousd=budget.cap_nanousd,
                reserved_nanousd=budget.reserved_nanousd,
                posted_nanousd=budget.posted_nanousd,
            )
        )
