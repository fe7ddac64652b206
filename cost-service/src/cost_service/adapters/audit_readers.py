"""Reads both databases for the ledger checker, as a role that may only read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from pydantic import SecretStr
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from cost_service.adapters.limits import DAY_NOW, PERIOD_NOW
from cost_service.domain.books import (
    Agreed,
    BookedAllowance,
    BookedAttempt,
    BookedBudget,
    BookedEntry,
    BookedHold,
    BookedJob,
    BookedKey,
    BookedPrice,
    BookedReceipt,
    CostBooks,
    JobBooks,
    OutboxRow,
)
from cost_service.domain.hold import HoldState
from cost_service.domain.period import PeriodKind
from cost_service.domain.prices import Price
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
    SELECT h.hold_id, h.state, h.placed, h.amount_nanousd, h.price_version,
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
_PRICES: Final = """
    SELECT price_version, target, model, input_nanousd_per_million, output_nanousd_per_million
    FROM prices ORDER BY price_version, target, model"""
_JOBS: Final = """
    SELECT job_id, state, admission, attempt, charge_nanousd, hold_nanousd, price_version, prices,
           executed_target, executed_model,
           coalesce(tokens_input, 0) AS tokens_input, coalesce(tokens_output, 0) AS tokens_output,
           state IN ('completed', 'failed', 'dead_letter', 'cancelled') AS is_final
    FROM jobs ORDER BY job_id"""
_ATTEMPTS: Final = """
    SELECT job_id, attempt, admission, CASE WHEN finished_at IS NOT NULL THEN outcome END AS outcome
    FROM attempts ORDER BY job_id, attempt"""
_RECEIPTS: Final = """
    SELECT job_id || ':' || admission AS hold_id, statement FROM receipts
    ORDER BY job_id, admission"""
# A request that redrives many jobs has a row of its own, which names none.
_KEYS: Final = """
    SELECT project_id || ' ' || route || ' ' || key AS name, job_id
    FROM idempotency WHERE job_id <> '' ORDER BY project_id, route, key"""


class PostgresCostBooks:
    """The `CostBooksReader` port."""

    def __init__(self, url: SecretStr) -> None:
        self._url = url

    async def read(self) -> CostBooks:
        budgets, holds, entries, allowances, prices = await _read(
            self._url, _BUDGETS, _HOLDS, _ENTRIES, _ALLOWANCES, _PRICES
        )
        return CostBooks(
            budgets=tuple(_to_budget(row) for row in budgets),
            holds=tuple(_to_hold(row) for row in holds),
            entries=tuple(_to_entry(row) for row in entries),
            allowances=tuple(
                BookedAllowance(row.user_id, row.allocated_nanousd, int(row.caps_nanousd))
                for row in allowances
            ),
            prices=tuple(_to_price(row) for row in prices),
        )


class PostgresJobBooks:
    """The `JobBooksReader` port, over the tables of job-service."""

    def __init__(self, url: SecretStr) -> None:
        self._url = url

    async def read_sent(self) -> Sequence[OutboxRow]:
        (sent,) = await _read(self._url, _OUTBOX.format(where="WHERE sent_at IS NOT NULL"))
        return [_to_outbox_row(row) for row in sent]

    async def read(self) -> JobBooks:
        jobs, outbox, attempts, receipts, keys = await _read(
            self._url, _JOBS, _OUTBOX.format(where=""), _ATTEMPTS, _RECEIPTS, _KEYS
        )
        return JobBooks(
            jobs=tuple(_to_job(row) for row in jobs),
            outbox=tuple(_to_outbox_row(row) for row in outbox),
            attempts=tuple(
                BookedAttempt(row.job_id, row.attempt, row.admission, row.outcome)
                for row in attempts
            ),
            receipts=tuple(_to_receipt(row) for row in receipts),
            keys=tuple(BookedKey(row.name, row.job_id) for row in keys),
        )


async def _read(url: SecretStr, *queries: str) -> list[Sequence[Row[Any]]]:
    """Return the rows of each query, all as of one moment, in a transaction that writes nothing.

    It is over before anybody works with the rows: a service's role may not leave one idle.
    """
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
                return [(await connection.execute(text(query))).all() for query in queries]
    finally:
        await engine.dispose()


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
        row.hold_id,
        HoldState(row.state),
        row.placed,
        row.amount_nanousd,
        tuple(row.budget_ids),
        row.price_version,
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


def _to_price(row: Row[Any]) -> BookedPrice:
    return BookedPrice(
        row.price_version,
        Price(
            row.target,
            row.model,
            row.input_nanousd_per_million,
            row.output_nanousd_per_million,
        ),
    )


def _to_job(row: Row[Any]) -> BookedJob:
    return BookedJob(
        job_id=row.job_id,
        is_final=row.is_final,
        admission=row.admission,
        charge_nanousd=row.charge_nanousd,
        state=row.state,
        attempt=row.attempt,
        agreed=_to_terms(row),
        target=row.executed_target,
        model=row.executed_model,
        tokens_input=row.tokens_input,
        tokens_output=row.tokens_output,
    )


def _to_terms(row: Row[Any]) -> Agreed | None:
    if row.price_version is None or row.prices is None:
        return None
    prices = tuple(
        Price(one["target"], one["model"], one["input_nanousd"], one["output_nanousd"])
        for one in row.prices
    )
    return Agreed(row.hold_nanousd, row.price_version, prices)


def _to_receipt(row: Row[Any]) -> BookedReceipt:
    # Read here, since Postgres stumbles over a zero byte that any text of it may name.
    charge = json.loads(row.statement).get("charge_nanousd")
    return BookedReceipt(row.hold_id, charge if isinstance(charge, int) else None)
