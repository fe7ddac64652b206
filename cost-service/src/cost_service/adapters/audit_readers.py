"""Reads both databases for the ledger checker, as a role that may only read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from pydantic import SecretStr
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from cost_service.adapters.limits import DAY_NOW, PERIOD_NOW
from cost_service.domain.hold import HoldState
from cost_service.domain.ledger_check import (
    BookedAllowance,
    BookedBudget,
    BookedEntry,
    BookedHold,
    BookedJob,
    CostBooks,
    JobBooks,
    OutboxRow,
)
from cost_service.domain.period import PeriodKind
from cost_service.domain.settlement import EntryKind
from service_kit.database import async_url, database_errors

_BUDGETS: Final = f"""
    SELECT b.budget_id, b.scope_kind || ' ' || b.scope_id AS scope, b.period_kind, b.period,
           b.reserved_nanousd, b.posted_nanousd, b.cap_nanousd,
           coalesce(a.cap_nanousd, c.cap_nanousd) AS cap_as_set_nanousd
    FROM budgets b
    LEFT JOIN allocations a
           ON b.scope_kind = 'project' AND b.period_kind = 'monthly' AND b.period >= {PERIOD_NOW}
          AND a.scope_kind = b.scope_kind AND a.scope_id = b.scope_id
    LEFT JOIN caps c
           ON c.scope_kind = b.scope_kind AND c.scope_id = b.scope_id
          AND c.period_kind = b.period_kind
          AND b.period >= CASE b.period_kind WHEN 'monthly' THEN {PERIOD_NOW}
                                             WHEN 'daily' THEN {DAY_NOW} ELSE 'total' END
    ORDER BY b.budget_id"""  # noqa: S608
_HOLDS: Final = """
    SELECT h.hold_id, h.state, h.placed, h.amount_nanousd,
           array_remove(array_agg(s.budget_id), NULL) AS budget_ids
    FROM holds h LEFT JOIN hold_scopes s USING (hold_id)
    GROUP BY h.hold_id ORDER BY h.hold_id"""
_ENTRIES: Final = """
    SELECT entry_id, hold_id, kind, amount_nanousd, excess_nanousd, budget_ids
    FROM ledger ORDER BY entry_id"""
_ALLOWANCES: Final = """
    SELECT a.user_id, a.allocated_nanousd, coalesce(sum(c.cap_nanousd), 0) AS caps_nanousd
    FROM allowances a
    LEFT JOIN allocations c ON c.owner_user_id = a.user_id AND c.scope_kind = 'project'
    GROUP BY a.user_id ORDER BY a.user_id"""
_OUTBOX: Final = """
    SELECT hold_id, kind, amount_nanousd, sent_at IS NOT NULL AS sent,
           extract(epoch FROM now() - created_at) AS age_seconds
    FROM settlements {where} ORDER BY hold_id"""
_JOBS: Final = """
    SELECT job_id, admission, charge_nanousd,
           state IN ('completed', 'failed', 'dead_letter', 'cancelled') AS is_final
    FROM jobs ORDER BY job_id"""


class PostgresCostBooks:
    """The `CostBooksReader` port."""

    def __init__(self, url: SecretStr) -> None:
        self._url = url

    async def read(self) -> CostBooks:
        async with _snapshot(self._url) as connection:
            return CostBooks(
                budgets=tuple(_to_budget(row) for row in await _rows(connection, _BUDGETS)),
                holds=tuple(_to_hold(row) for row in await _rows(connection, _HOLDS)),
                entries=tuple(_to_entry(row) for row in await _rows(connection, _ENTRIES)),
                allowances=tuple(
                    BookedAllowance(row.user_id, row.allocated_nanousd, int(row.caps_nanousd))
                    for row in await _rows(connection, _ALLOWANCES)
                ),
            )


class PostgresJobBooks:
    """The `JobBooksReader` port, over the tables of job-service."""

    def __init__(self, url: SecretStr) -> None:
        self._url = url

    async def read_sent(self) -> Sequence[OutboxRow]:
        query = _OUTBOX.format(where="WHERE sent_at IS NOT NULL")
        async with _snapshot(self._url) as connection:
            return [_to_outbox_row(row) for row in await _rows(connection, query)]

    async def read(self) -> JobBooks:
        async with _snapshot(self._url) as connection:
            return JobBooks(
                jobs=tuple(
                    BookedJob(row.job_id, row.is_final, row.admission, row.charge_nanousd)
                    for row in await _rows(connection, _JOBS)
                ),
                outbox=tuple(
                    _to_outbox_row(row) for row in await _rows(connection, _OUTBOX.format(where=""))
                ),
            )


@asynccontextmanager
async def _snapshot(url: SecretStr) -> AsyncIterator[AsyncConnection]:
    """Open a transaction that sees one moment and can write nothing."""
    engine = create_async_engine(
        async_url(url),
        poolclass=NullPool,
        isolation_level="REPEATABLE READ",
        connect_args={"server_settings": {"application_name": "ledger-check"}},
    )
    try:
        with database_errors():
            async with engine.connect() as connection, connection.begin():
                await connection.execute(text("SET TRANSACTION READ ONLY"))
                yield connection
    finally:
        await engine.dispose()


async def _rows(connection: AsyncConnection, query: str) -> Sequence[Row[Any]]:
    return (await connection.execute(text(query))).all()


def _to_budget(row: Row[Any]) -> BookedBudget:
    return BookedBudget(
        row.budget_id,
        f"{row.scope} {row.period}",
        row.reserved_nanousd,
        row.posted_nanousd,
        row.scope,
        PeriodKind(row.period_kind),
        row.cap_nanousd,
        row.cap_as_set_nanousd,
    )


def _to_hold(row: Row[Any]) -> BookedHold:
    return BookedHold(
        row.hold_id, HoldState(row.state), row.placed, row.amount_nanousd, tuple(row.budget_ids)
    )


def _to_entry(row: Row[Any]) -> BookedEntry:
    return BookedEntry(
        row.entry_id,
        row.hold_id,
        EntryKind(row.kind),
        row.amount_nanousd,
        row.excess_nanousd,
        tuple(row.budget_ids),
    )


def _to_outbox_row(row: Row[Any]) -> OutboxRow:
    return OutboxRow(
        row.hold_id, EntryKind(row.kind), row.amount_nanousd, row.sent, float(row.age_seconds)
    )
