"""What work has cost, by the sums of the ledger: one pass over a period's entries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from cost_service.domain.cost_reports import CostReport, CostShare, CostSums, Dimension

MOST_SHARES: Final = 100
MOST_TENANTS: Final = 10

# What an entry adds to what the tenant owes.
CHARGED: Final = (
    "CASE kind WHEN 'refund' THEN -amount_nanousd WHEN 'void' THEN 0 ELSE amount_nanousd END"
)
# now() is when the transaction began: every statement of a report speaks of the same time.
PERIOD: Final = """
    created_at >= now() - CAST(:days AS integer) * interval '1 day' AND created_at <= now()"""

_TENANTS: Final = (Dimension.PROJECT, Dimension.TEAM)
# A team's member need have no part in its projects, so the keys of these are not theirs to see.
_OF_TEAM: Final = (Dimension.DAY, Dimension.TARGET, Dimension.MODEL, Dimension.JOB_TYPE)
_OF_PROJECT: Final = (*_OF_TEAM, Dimension.API_KEY)
_OF_ALL: Final = (*_OF_TEAM, *_TENANTS)

_NAMES: Final = {Dimension.DAY: "to_char(day, 'YYYY-MM-DD')"}
_FIGURES: Final = tuple(field.name for field in fields(CostSums))
_ADMISSION: Final = "CAST(split_part(hold_id, ':', 2) AS bigint)"

_BOUNDS: Final = text(
    "SELECT now() - CAST(:days AS integer) * interval '1 day' AS begins_at, now() AS ends_at"
)


def _sums(where: str, dimensions: Sequence[Dimension]) -> str:
    """Return the statement for a row in total, and one for each name in each dimension.

    A job that its owner retried has several settlements: the last admission's tells its end.
    Entries are summed once, by everything; what that leaves is summed by each dimension.
    """
    columns = ", ".join(one for one in dimensions if one is not Dimension.DAY)
    names = " ".join(f"WHEN GROUPING({one}) = 0 THEN {_NAMES.get(one, one)}" for one in dimensions)
    kinds = " ".join(f"WHEN GROUPING({one}) = 0 THEN '{one}'" for one in dimensions)
    sets = ", ".join(f"({one})" for one in dimensions)
    totals = ", ".join(f"coalesce(sum({one}), 0) AS {one}" for one in _FIGURES)
    return f"""
    WITH again AS MATERIALIZED (
        SELECT job_id, max({_ADMISSION}) AS admission
        FROM ledger WHERE {where} {PERIOD}
          AND kind IN ('post', 'void') AND split_part(hold_id, ':', 2) <> '1'
        GROUP BY job_id
    ), marked AS (
        SELECT kind, tokens_input, tokens_output, provider_cost_nanousd, {CHARGED} AS charged,
               CAST(created_at AT TIME ZONE 'UTC' AS date) AS day, {columns},
               CASE WHEN kind IN ('post', 'void')
                     AND (again.job_id IS NULL OR {_ADMISSION} = again.admission)
                    THEN nullif(job_state, '') END AS ended
        FROM ledger LEFT JOIN again USING (job_id) WHERE {where} {PERIOD}
    ), finest AS (
        SELECT day, {columns}, sum(charged) AS cost_nanousd,
               sum(provider_cost_nanousd) FILTER (WHERE kind IN ('post', 'void'))
                   AS provider_cost_nanousd,
               count(ended) AS jobs,
               count(*) FILTER (WHERE ended = 'completed') AS completed_jobs,
               count(*) FILTER (WHERE ended IN ('failed', 'dead_letter')) AS failed_jobs,
               count(*) FILTER (WHERE ended = 'cancelled') AS cancelled_jobs,
               sum(tokens_input) FILTER (WHERE kind = 'post') AS tokens_input,
               sum(tokens_output) FILTER (WHERE kind = 'post') AS tokens_output
        FROM marked GROUP BY day, {columns}
    ), sums AS (
        SELECT CASE {kinds} ELSE '' END AS dimension, CASE {names} ELSE '' END AS name, {totals}
        FROM finest GROUP BY GROUPING SETS ((), {sets})
    ), ranked AS (
        SELECT *, row_number() OVER (
            PARTITION BY dimension, name = '' ORDER BY cost_nanousd DESC, jobs DESC, name
        ) AS rank FROM sums
    )
    SELECT * FROM ranked
    WHERE dimension IN ('', '{Dimension.DAY}') OR (name <> '' AND rank <= CASE
        WHEN dimension IN ('{Dimension.PROJECT}', '{Dimension.TEAM}') THEN {MOST_TENANTS}
        ELSE {MOST_SHARES} END)
    ORDER BY dimension, CASE WHEN dimension = '{Dimension.DAY}' THEN name ELSE '' END, rank
    """  # noqa: S608


_PROJECT: Final = text(_sums("project_id = :scope_id AND", _OF_PROJECT))
_TEAM: Final = text(_sums("team_id = :scope_id AND team_id <> '' AND", _OF_TEAM))
_PLATFORM: Final = text(_sums("", _OF_ALL))


class PostgresCostReports:
    """The `CostReports` port."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def of_project(self, project_id: str, period_days: int) -> CostReport:
        values = {"scope_id": project_id, "days": period_days}
        rows = (await self._session.execute(_PROJECT, values)).all()
        return await self._report(rows, period_days)

    async def of_team(self, team_id: str, period_days: int) -> CostReport:
        values = {"scope_id": team_id, "days": period_days}
        rows = (await self._session.execute(_TEAM, values)).all()
        return await self._report(rows, period_days)

    async def of_platform(self, period_days: int) -> CostReport:
        rows = (await self._session.execute(_PLATFORM, {"days": period_days})).all()
        return await self._report(rows, period_days)

    async def _report(self, rows: Sequence[Row[Any]], period_days: int) -> CostReport:
        bounds = (await self._session.execute(_BOUNDS, {"days": period_days})).one()
        total = CostSums()
        shares: defaultdict[str, list[CostShare]] = defaultdict(list)
        for row in rows:
            if row.dimension:
                shares[row.dimension].append(CostShare(row.name, _to_sums(row)))
            else:
                total = _to_sums(row)
        return CostReport(
            period_days=period_days,
            begins_at=bounds.begins_at,
            ends_at=bounds.ends_at,
            total=total,
            days=tuple(shares[Dimension.DAY]),
            targets=tuple(shares[Dimension.TARGET]),
            models=tuple(shares[Dimension.MODEL]),
            job_types=tuple(shares[Dimension.JOB_TYPE]),
            api_keys=tuple(shares[Dimension.API_KEY]),
            projects=tuple(shares[Dimension.PROJECT]),
            teams=tuple(shares[Dimension.TEAM]),
        )


def _to_sums(row: Row[Any]) -> CostSums:
    return CostSums(**{name: int(row._mapping[name]) for name in _FIGURES})
