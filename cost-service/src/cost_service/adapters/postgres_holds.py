"""Holds in Postgres: the whole decision in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from cost_service.adapters.limits import PERIODS_NOW, wanted
from cost_service.domain.budget_scope import BudgetScope
from cost_service.domain.hold import Hold, HoldRequest, HoldState, ScopeGrant
from cost_service.domain.names import job_id_of
from cost_service.domain.period import PeriodKind
from cost_service.usecases.ports import Placement

# `hold` comes first and stops everything else if the hold exists; a concurrent one with the same
# id is waited for there. `locked` takes the budget rows one by one in one order, and sees them
# as they are once the lock is had. Only what has a cap, or must have one, takes part.
_PLACE: Final[TextClause] = text(
    f"""
    WITH bounds AS MATERIALIZED (
        SELECT w.scope_kind, w.scope_id, p.period,
               a.scope_id IS NOT NULL OR c.scope_id IS NOT NULL AS is_set
        {wanted(PERIODS_NOW)}
    ), wanted AS MATERIALIZED (
        SELECT b.budget_id
        FROM bounds LEFT JOIN budgets b
          ON bounds.is_set AND b.scope_kind = bounds.scope_kind
         AND b.scope_id = bounds.scope_id AND b.period = bounds.period
    ), hold AS (
        INSERT INTO holds (hold_id, job_id, state, placed, amount_nanousd, price_version)
        SELECT CAST(:hold_id AS text), CAST(:job_id AS text), 'held', true,
               CAST(:amount AS bigint), CAST(:price_version AS text)
        WHERE NOT EXISTS (SELECT FROM wanted WHERE budget_id IS NULL)
        ON CONFLICT (hold_id) DO NOTHING
        RETURNING created_at
    ), locked AS MATERIALIZED (
        SELECT b.budget_id, b.scope_kind, b.scope_id, b.period, b.period_kind, hold.created_at,
               b.cap_nanousd, b.reserved_nanousd, b.posted_nanousd
        FROM hold CROSS JOIN budgets b
        WHERE b.budget_id IN (SELECT budget_id FROM wanted)
        ORDER BY b.scope_kind, b.scope_id, b.period
        FOR NO KEY UPDATE OF b
    ), reserved AS (
        UPDATE budgets b SET reserved_nanousd = b.reserved_nanousd + :amount
        FROM locked
        WHERE b.budget_id = locked.budget_id
          AND CAST(b.reserved_nanousd AS numeric) + b.posted_nanousd + :amount <= b.cap_nanousd
        RETURNING b.budget_id
    ), scoped AS (
        INSERT INTO hold_scopes (hold_id, budget_id) SELECT :hold_id, budget_id FROM reserved
    )
    SELECT locked.*, reserved.budget_id IS NOT NULL AS granted
    FROM locked LEFT JOIN reserved ON reserved.budget_id = locked.budget_id
    ORDER BY locked.scope_kind, locked.scope_id, locked.period
    """  # noqa: S608
)

_COLUMNS: Final = "hold_id, state, amount_nanousd, price_version, created_at"
_FIND: Final = text(f"SELECT {_COLUMNS} FROM holds WHERE hold_id = :hold_id")  # noqa: S608
_OPEN: Final = text(
    f"""
    SELECT {_COLUMNS} FROM holds
    WHERE state = 'held' AND created_at <= now() - CAST(:age AS bigint) * interval '1 second'
      AND (created_at, hold_id) > (CAST(:created_at AS timestamptz), CAST(:hold_id AS text))
    ORDER BY created_at, hold_id LIMIT :limit
    """  # noqa: S608
)
_BEGINNING: Final = (datetime.fromisoformat("0001-01-02T00:00:00+00:00"), "")


class PostgresHolds:
    """The `Holds` port."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def place(self, request: HoldRequest) -> Placement | None:
        found = await self._session.execute(
            _PLACE,
            {
                "kinds": [scope.kind.value for scope in request.scopes],
                "ids": [scope.scope_id for scope in request.scopes],
                "hold_id": request.hold_id,
                "job_id": job_id_of(request.hold_id),
                "amount": request.amount_nanousd,
                "price_version": request.price_version,
            },
        )
        rows = found.all()
        return _placement(request, rows) if rows else None

    async def find(self, hold_id: str) -> Hold | None:
        row = (await self._session.execute(_FIND, {"hold_id": hold_id})).one_or_none()
        return None if row is None else _to_hold(row)

    async def list_open(
        self, min_age_seconds: int, after: tuple[datetime, str] | None, limit: int
    ) -> Sequence[Hold]:
        created_at, hold_id = after or _BEGINNING
        found = await self._session.execute(
            _OPEN,
            {"age": min_age_seconds, "created_at": created_at, "hold_id": hold_id, "limit": limit},
        )
        return [_to_hold(row) for row in found]


def _placement(request: HoldRequest, rows: Sequence[Row[Any]]) -> Placement:
    scopes: dict[tuple[str, str], BudgetScope] = {scope.key: scope for scope in request.scopes}
    hold = Hold(
        request.hold_id,
        HoldState.HELD,
        request.amount_nanousd,
        request.price_version,
        rows[0].created_at,
    )
    grants = tuple(
        ScopeGrant(
            scopes[row.scope_kind, row.scope_id],
            PeriodKind(row.period_kind),
            row.period,
            row.cap_nanousd,
            row.reserved_nanousd,
            row.posted_nanousd,
            row.granted,
        )
        for row in rows
    )
    return Placement(hold, grants)


def _to_hold(row: Row[Any]) -> Hold:
    return Hold(
        row.hold_id, HoldState(row.state), row.amount_nanousd, row.price_version, row.created_at
    )
