"""What one job has cost, from holds and ledger."""

from __future__ import annotations

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from cost_service.adapters.postgres_cost_reports import CHARGED
from cost_service.domain.costs import JobCost

_JOB: Final = text(
    f"""
    WITH entries AS (
        SELECT * FROM ledger WHERE job_id = :job_id AND project_id = :project_id
    ), held AS (
        SELECT h.hold_id, h.state, h.amount_nanousd, h.price_version
        FROM holds h
        WHERE h.job_id = :job_id AND (
            h.hold_id IN (SELECT hold_id FROM entries)
            OR EXISTS (
                SELECT FROM hold_scopes s JOIN budgets b USING (budget_id)
                WHERE s.hold_id = h.hold_id
                  AND b.scope_kind = 'project' AND b.scope_id = :project_id
            )
        )
        ORDER BY CAST(split_part(h.hold_id, ':', 2) AS bigint) DESC
    ), latest AS (
        SELECT * FROM entries WHERE kind IN ('post', 'void')
        ORDER BY CAST(split_part(hold_id, ':', 2) AS bigint) DESC LIMIT 1
    ), sums AS (
        SELECT coalesce(sum({CHARGED}), 0) AS charged_nanousd,
               coalesce(sum(tokens_input) FILTER (WHERE kind = 'post'), 0) AS tokens_input,
               coalesce(sum(tokens_output) FILTER (WHERE kind = 'post'), 0) AS tokens_output
        FROM entries
    )
    SELECT sums.*, latest.target, latest.model, latest.created_at AS settled_at,
           coalesce((SELECT amount_nanousd FROM held LIMIT 1), 0) AS held_nanousd,
           NOT EXISTS (SELECT FROM held WHERE state = 'held') AS settled,
           coalesce(nullif(latest.price_version, ''),
                    (SELECT price_version FROM held LIMIT 1), '') AS price_version
    FROM sums LEFT JOIN latest ON true
    WHERE EXISTS (SELECT FROM entries) OR EXISTS (SELECT FROM held)
    """  # noqa: S608
)


class PostgresReports:
    """The `Reports` port."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find_job_cost(self, project_id: str, job_id: str) -> JobCost | None:
        found = await self._session.execute(_JOB, {"project_id": project_id, "job_id": job_id})
        row = found.one_or_none()
        if row is None:
            return None
        return JobCost(
            job_id=job_id,
            project_id=project_id,
            held_nanousd=row.held_nanousd,
            charged_nanousd=int(row.charged_nanousd),
            settled=row.settled,
            target=row.target or "",
            model=row.model or "",
            tokens_input=int(row.tokens_input),
            tokens_output=int(row.tokens_output),
            price_version=row.price_version,
            settled_at=row.settled_at if row.settled else None,
        )
