"""The ledger in Postgres. A settlement is one statement, decided by a unique index."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from cost_service.adapters.limits import ALERT_LEVELS, ALERTED, DAY_NOW, PERIOD_NOW, periods, wanted
from cost_service.adapters.postgres_alerts import ALERT_COLUMNS, alerts_in
from cost_service.domain.budget_scope import BudgetScopeKind
from cost_service.domain.settlement import ALREADY_SETTLED, Booking, EntryKind, Settlement

_OUTCOME: Final = """
    job_id, project_id, job_state, target, model, tokens_input, tokens_output,
    usage_source, provider_cost_nanousd, price_version, finished_at,
    job_type, complexity, complexity_threshold, team_id, api_key_id"""
_OUTCOME_VALUES: Final = """
    CAST(:job_id AS text), CAST(:project_id AS text), CAST(:job_state AS text),
    CAST(:target AS text), CAST(:model AS text), CAST(:tokens_input AS bigint),
    CAST(:tokens_output AS bigint), CAST(:usage_source AS text),
    CAST(:provider_cost_nanousd AS bigint), CAST(:price_version AS text),
    CAST(:finished_at AS timestamptz),
    CAST(:job_type AS text), CAST(:complexity AS bigint), CAST(:complexity_threshold AS bigint),
    CAST(:team_id AS text), CAST(:api_key_id AS text)"""

# The hold's row is locked first, so that a post and a void of it come one after the other. The
# ledger's unique index decides; the budgets change only for the entry that got in.
_SETTLE: Final = text(
    f"""
    WITH hold AS MATERIALIZED (
        SELECT hold_id, state, amount_nanousd FROM holds
        WHERE hold_id = CAST(:hold_id AS text) FOR UPDATE
    ), scoped AS MATERIALIZED (
        SELECT array_agg(b.budget_id ORDER BY b.scope_kind, b.scope_id, b.period) AS budget_ids,
               min(b.period) FILTER (WHERE b.period_kind = 'monthly') AS period
        FROM hold_scopes s JOIN budgets b USING (budget_id) WHERE s.hold_id = :hold_id
    ), entry AS (
        INSERT INTO ledger (hold_id, kind, amount_nanousd, excess_nanousd, budget_ids, period,
                            {_OUTCOME})
        SELECT :hold_id, CAST(:kind AS text), least(CAST(:amount AS bigint), hold.amount_nanousd),
               greatest(:amount - hold.amount_nanousd, 0), scoped.budget_ids, scoped.period,
               {_OUTCOME_VALUES}
        FROM hold CROSS JOIN scoped
        WHERE hold.state = 'held'
        ON CONFLICT DO NOTHING
        RETURNING amount_nanousd, excess_nanousd
    ), settled AS (
        UPDATE holds SET state = CAST(:state AS text), settled_at = now()
        FROM entry WHERE holds.hold_id = :hold_id
    ), locked AS MATERIALIZED (
        SELECT b.budget_id, b.scope_kind, b.scope_id, b.period_kind, b.period,
               hold.amount_nanousd AS held, entry.amount_nanousd AS charged
        FROM entry CROSS JOIN hold CROSS JOIN budgets b
        WHERE b.budget_id IN (SELECT budget_id FROM hold_scopes WHERE hold_id = :hold_id)
        ORDER BY b.scope_kind, b.scope_id, b.period
        FOR NO KEY UPDATE OF b
    ), charged AS (
        UPDATE budgets b SET reserved_nanousd = b.reserved_nanousd - locked.held,
                             posted_nanousd = b.posted_nanousd + locked.charged
        FROM locked WHERE b.budget_id = locked.budget_id
        RETURNING b.budget_id, b.cap_nanousd, b.posted_nanousd, locked.charged
    ), {ALERTED}
    SELECT entry.amount_nanousd AS charged_nanousd, entry.excess_nanousd, {ALERT_COLUMNS}
    FROM hold LEFT JOIN entry ON true
    LEFT JOIN (alerted JOIN locked b ON b.budget_id = alerted.budget_id) ON true
    ORDER BY alerted.alert_id
    """  # noqa: S608
)

_TOMBSTONE: Final = text(
    """
    INSERT INTO holds (hold_id, job_id, state, placed, amount_nanousd, price_version, settled_at)
    VALUES (CAST(:hold_id AS text), CAST(:job_id AS text), CAST(:state AS text), false,
            CAST(:amount AS bigint), CAST(:price_version AS text), now())
    ON CONFLICT (hold_id) DO NOTHING RETURNING hold_id
    """
)

# Where the hold is unknown, the job's outcome says which month and day its charge belongs to.
_PERIODS: Final = periods(
    f"coalesce(nullif(CAST(:period AS text), ''), {PERIOD_NOW})",
    "coalesce(to_char(CAST(:finished_at AS timestamptz) AT TIME ZONE 'UTC', 'YYYY-MM-DD'), "
    f"{DAY_NOW})",
)
# Whoever sets a cap waits, and then finds the rows that are opened here.
_LOCK_LIMITS: Final = tuple(
    text(
        f"""
        SELECT FROM {table} JOIN unnest(CAST(:kinds AS text[]), CAST(:ids AS text[]))
            AS w(scope_kind, scope_id) USING (scope_kind, scope_id)
        ORDER BY scope_kind, scope_id FOR SHARE OF {table}
        """
    )
    for table in ("allocations", "caps")
)
# A month without a budget gets one of 0: whoever sets a budget later finds the row.
_OPEN_PERIODS: Final = text(
    f"""
    INSERT INTO budgets (scope_kind, scope_id, period_kind, period, cap_nanousd)
    SELECT w.scope_kind, w.scope_id, p.period_kind, p.period,
           coalesce(a.cap_nanousd, c.cap_nanousd, 0)
    {wanted(_PERIODS)}
    ORDER BY w.scope_kind, w.scope_id, p.period
    ON CONFLICT (scope_kind, scope_id, period) DO NOTHING
    """
)

_BOOK_UNKNOWN: Final = text(
    f"""
    WITH bounds AS MATERIALIZED (
        SELECT w.scope_kind, w.scope_id, p.period {wanted(_PERIODS)}
    ), locked AS MATERIALIZED (
        SELECT b.budget_id, b.scope_kind, b.scope_id, b.period_kind, b.period
        FROM budgets b JOIN bounds USING (scope_kind, scope_id, period)
        WHERE CAST(:kind AS text) = 'post'
        ORDER BY b.scope_kind, b.scope_id, b.period
        FOR NO KEY UPDATE OF b
    ), charged AS (
        UPDATE budgets b SET posted_nanousd = b.posted_nanousd + CAST(:amount AS bigint)
        FROM locked WHERE b.budget_id = locked.budget_id
        RETURNING b.budget_id, b.cap_nanousd, b.posted_nanousd, CAST(:amount AS bigint) AS charged
    ), {ALERTED}, scoped AS (
        INSERT INTO hold_scopes (hold_id, budget_id)
        SELECT CAST(:hold_id AS text), budget_id FROM locked
    ), entry AS (
        INSERT INTO ledger (hold_id, kind, amount_nanousd, budget_ids, period, {_OUTCOME})
        SELECT :hold_id, :kind, :amount,
               coalesce((SELECT array_agg(budget_id) FROM locked), '{{}}'), p.period,
               {_OUTCOME_VALUES}
        FROM {_PERIODS} WHERE p.period_kind = 'monthly'
        ON CONFLICT DO NOTHING
        RETURNING amount_nanousd
    )
    SELECT entry.amount_nanousd AS charged_nanousd, {ALERT_COLUMNS}
    FROM entry
    LEFT JOIN (alerted JOIN locked b ON b.budget_id = alerted.budget_id) ON true
    ORDER BY alerted.alert_id
    """  # noqa: S608
)


class PostgresLedger:
    """The `Ledger` port."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def settle(self, settlement: Settlement) -> Booking | None:
        rows = (await self._session.execute(_SETTLE, _values(settlement))).mappings().all()
        if not rows:
            return None
        charged, excess = rows[0]["charged_nanousd"], rows[0]["excess_nanousd"]
        if charged is None:
            return ALREADY_SETTLED
        return Booking(True, charged, excess, alerts=alerts_in(rows))

    async def settle_unknown(self, settlement: Settlement) -> Booking | None:
        values = _values(settlement)
        if (await self._session.execute(_TOMBSTONE, values)).one_or_none() is None:
            return None
        if settlement.kind is EntryKind.POST:
            for lock in _LOCK_LIMITS:
                await self._session.execute(lock, values)
            await self._session.execute(_OPEN_PERIODS, values)
        rows = (await self._session.execute(_BOOK_UNKNOWN, values)).mappings().all()
        if not rows:
            return ALREADY_SETTLED
        return Booking(True, settlement.amount_nanousd, had_hold=False, alerts=alerts_in(rows))


def _values(settlement: Settlement) -> dict[str, Any]:
    outcome = settlement.outcome
    return {
        "hold_id": settlement.hold_id,
        "kind": settlement.kind.value,
        "state": settlement.hold_state.value,
        "amount": settlement.amount_nanousd,
        "kinds": [scope.kind.value for scope in settlement.scopes],
        "ids": [scope.scope_id for scope in settlement.scopes],
        "period": outcome.period,
        "job_id": outcome.job_id,
        "project_id": outcome.project_id,
        "job_state": outcome.job_state,
        "target": outcome.target,
        "model": outcome.model,
        "tokens_input": outcome.tokens_input,
        "tokens_output": outcome.tokens_output,
        "usage_source": outcome.usage_source,
        "provider_cost_nanousd": outcome.provider_cost_nanousd,
        "price_version": outcome.price_version,
        "finished_at": outcome.finished_at,
        "job_type": outcome.job_type,
        "complexity": outcome.complexity,
        "complexity_threshold": outcome.complexity_threshold,
        "team_id": settlement.scope_id(BudgetScopeKind.TEAM),
        "api_key_id": settlement.scope_id(BudgetScopeKind.API_KEY),
        **ALERT_LEVELS,
    }
