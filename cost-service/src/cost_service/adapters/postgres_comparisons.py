"""The work of a period beside what it could have been, by the prices each job was agreed at."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from cost_service.adapters.postgres_cost_reports import CHARGED, PERIOD
from cost_service.domain.savings import LOCAL, NotComparable, Savings, Scenario
from cost_service.domain.suggestions import WorkFacts

# Which price a kind of work has in a scenario: that of the scenario's model; where that is `*`,
# the one of the work's own model first. A named model makes text, so vectors compare with their
# own model alone; and so does work from before job types were told.
_RATES: Final = """
    SELECT DISTINCT k.price_version, k.model, k.job_type,
           s.target AS at_target, s.model AS at_model,
           p.input_nanousd_per_million AS rate_input, p.output_nanousd_per_million AS rate_output
    FROM kinds k CROSS JOIN scenarios s
    CROSS JOIN LATERAL (
        SELECT * FROM prices
        WHERE price_version = k.price_version AND target = s.target
          AND (model = s.model OR (s.model = '*' AND model = k.model))
          AND (s.model IN ('*', k.model) OR k.job_type NOT IN ('', 'embedding'))
        ORDER BY model = '*' LIMIT 1
    ) p"""

# What all work costs together, each job rounded up once, as a charge is. Whole nano-USD a token
# need no rounding, so they are multiplied with sums; only what prices have beyond that is
# rounded job by job. div() is exact, where a quotient of numerics is not.
_WHOLE: Final = """
    sum(tokens_input * div(rate_input, 1000000) + tokens_output * div(rate_output, 1000000))"""
_BEYOND: Final = """
    sum(div(CAST(tokens_input AS numeric) * (rate_input % 1000000)
            + CAST(tokens_output AS numeric) * (rate_output % 1000000) + 999999, 1000000))"""

_WORK: Final = f"""
    FROM ledger WHERE project_id = :project_id AND kind = 'post' AND {PERIOD}"""

# A row for each scenario, and one for each kind of work that has no price elsewhere.
_SAVINGS: Final = text(
    f"""
    WITH kinds AS MATERIALIZED (
        SELECT price_version, model, job_type, target, count(*) AS jobs,
               sum(amount_nanousd) AS charged, sum(tokens_input) AS tokens_input,
               sum(tokens_output) AS tokens_output
        {_WORK} GROUP BY price_version, model, job_type, target
    ), scenarios AS (
        SELECT DISTINCT target, model FROM prices
        WHERE price_version IN (SELECT price_version FROM kinds)
    ), rates AS MATERIALIZED (
        {_RATES}
    ), whole AS (
        SELECT at_target, at_model, sum(jobs) AS jobs, sum(charged) AS charged, {_WHOLE} AS cost,
               array_agg(DISTINCT price_version) AS price_versions
        FROM kinds JOIN rates USING (price_version, model, job_type) GROUP BY at_target, at_model
    ), fine AS MATERIALIZED (
        SELECT * FROM rates WHERE rate_input % 1000000 <> 0 OR rate_output % 1000000 <> 0
    ), beyond AS (
        SELECT at_target, at_model, {_BEYOND} AS cost
        FROM (SELECT price_version, model, job_type, tokens_input, tokens_output {_WORK}) work
        JOIN fine USING (price_version, model, job_type) GROUP BY at_target, at_model
    ), alone AS (
        SELECT target, model, price_version, sum(jobs) AS jobs, sum(charged) AS charged
        FROM kinds k
        WHERE NOT EXISTS (
            SELECT FROM rates r
            WHERE r.price_version = k.price_version AND r.model = k.model
              AND r.job_type = k.job_type AND r.at_target <> k.target
        )
        GROUP BY target, model, price_version
    )
    SELECT 'compared' AS part, at_target AS target, at_model AS model, jobs, charged,
           whole.cost + coalesce(beyond.cost, 0) AS cost, price_versions
    FROM whole LEFT JOIN beyond USING (at_target, at_model)
    UNION ALL
    SELECT 'alone', target, model, jobs, charged, 0, ARRAY[price_version] FROM alone
    ORDER BY part, target, model
    """  # noqa: S608
)
_TOTALS: Final = text(
    f"""
    SELECT count(*) FILTER (WHERE kind = 'post') AS jobs,
           coalesce(sum(tokens_input) FILTER (WHERE kind = 'post'), 0) AS tokens_input,
           coalesce(sum(tokens_output) FILTER (WHERE kind = 'post'), 0) AS tokens_output,
           coalesce(sum(amount_nanousd) FILTER (WHERE kind = 'post'), 0) AS charged_nanousd,
           coalesce(sum({CHARGED}) FILTER (WHERE kind IN ('refund', 'surcharge')), 0)
               AS corrections_nanousd,
           coalesce(sum(provider_cost_nanousd) FILTER (WHERE kind = 'post'), 0)
               AS provider_cost_nanousd,
           now() - CAST(:days AS integer) * interval '1 day' AS begins_at, now() AS ends_at
    FROM ledger WHERE project_id = :project_id AND {PERIOD}
    """  # noqa: S608
)
_FAILED: Final = "job_state IN ('failed', 'dead_letter')"
# The local price of a model is its own, else that of all of them.
_LOCAL_RATES: Final = f"""
    SELECT DISTINCT ON (k.price_version, k.model) k.price_version, k.model,
           p.input_nanousd_per_million AS rate_input, p.output_nanousd_per_million AS rate_output
    FROM (SELECT DISTINCT price_version, model FROM simple) k
    JOIN prices p ON p.price_version = k.price_version AND p.target = '{LOCAL}'
                 AND p.model IN (k.model, '*')
    ORDER BY k.price_version, k.model, p.model = '*'"""  # noqa: S608
_FACTS: Final = text(
    f"""
    WITH simple AS MATERIALIZED (
        SELECT price_version, model, amount_nanousd, tokens_input, tokens_output
        {_WORK} AND complexity < complexity_threshold AND target NOT IN ('', '{LOCAL}')
    ), local_rates AS (
        {_LOCAL_RATES}
    ), at_home AS (
        SELECT count(*) AS simple_jobs,
               coalesce(sum(amount_nanousd), 0) AS simple_charged_nanousd,
               coalesce({_WHOLE} + {_BEYOND}, 0) AS simple_local_cost_nanousd
        FROM simple JOIN local_rates USING (price_version, model)
    ), held AS (
        SELECT count(*) AS held_jobs, coalesce(sum(h.amount_nanousd), 0) AS held_nanousd,
               coalesce(sum(work.amount_nanousd), 0) AS held_charged_nanousd,
               coalesce(sum(work.tokens_output), 0) AS held_tokens_output
        FROM (
            SELECT hold_id, amount_nanousd, tokens_output {_WORK} AND job_state = 'completed'
        ) work JOIN holds h ON h.hold_id = work.hold_id AND h.placed
    ), ends AS (
        SELECT count(*) AS settlements,
               coalesce(sum(amount_nanousd) FILTER (WHERE {_FAILED}), 0)
                   AS failed_charged_nanousd,
               coalesce(sum(provider_cost_nanousd) FILTER (WHERE {_FAILED}), 0)
                   AS failed_provider_cost_nanousd,
               count(*) FILTER (WHERE kind = 'void' AND provider_cost_nanousd > 0)
                   AS uncharged_jobs,
               coalesce(sum(provider_cost_nanousd) FILTER (WHERE kind = 'void'), 0)
                   AS uncharged_provider_cost_nanousd
        FROM ledger
        WHERE project_id = :project_id AND kind IN ('post', 'void') AND {PERIOD}
    )
    SELECT * FROM ends CROSS JOIN at_home CROSS JOIN held
    """  # noqa: S608
)


class PostgresComparisons:
    """The `WorkComparisons` port."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def savings(self, project_id: str, period_days: int) -> Savings:
        values = {"project_id": project_id, "days": period_days}
        rows = (await self._session.execute(_SAVINGS, values)).all()
        totals = (await self._session.execute(_TOTALS, values)).one()
        scenarios = [_to_scenario(row, totals.jobs) for row in rows if row.part == "compared"]
        return Savings(
            project_id=project_id,
            period_days=period_days,
            begins_at=totals.begins_at,
            ends_at=totals.ends_at,
            jobs=totals.jobs,
            tokens_input=int(totals.tokens_input),
            tokens_output=int(totals.tokens_output),
            charged_nanousd=int(totals.charged_nanousd),
            corrections_nanousd=int(totals.corrections_nanousd),
            provider_cost_nanousd=int(totals.provider_cost_nanousd),
            scenarios=tuple(
                sorted(scenarios, key=lambda one: (not one.is_local, one.cost_nanousd))
            ),
            not_comparable=tuple(
                NotComparable(
                    row.target, row.model, row.price_versions[0], int(row.jobs), int(row.charged)
                )
                for row in rows
                if row.part == "alone"
            ),
        )

    async def facts(self, project_id: str, period_days: int) -> WorkFacts:
        values = {"project_id": project_id, "days": period_days}
        row = (await self._session.execute(_FACTS, values)).one()
        return WorkFacts(**{name: int(value) for name, value in row._mapping.items()})


def _to_scenario(row: Row[Any], jobs: int) -> Scenario:
    return Scenario(
        target=row.target,
        model=row.model,
        jobs=int(row.jobs),
        charged_nanousd=int(row.charged),
        cost_nanousd=int(row.cost),
        not_comparable_jobs=jobs - int(row.jobs),
        price_versions=tuple(sorted(row.price_versions)),
    )
