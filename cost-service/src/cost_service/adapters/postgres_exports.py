"""Ledger entries one by one, a page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from cost_service.domain.ledger_entry import LedgerEntry
from cost_service.domain.report_days import DayRange
from cost_service.domain.settlement import EntryKind

_PAGE: Final = text(
    """
    SELECT entry_id, created_at, finished_at, kind, job_id, job_type, job_state, target, model,
           complexity, tokens_input, tokens_output, usage_source, amount_nanousd,
           provider_cost_nanousd, price_version, api_key_id
    FROM ledger
    WHERE project_id = :project_id
      AND created_at >= :begins_at AND created_at < :ends_before
      AND (created_at, entry_id) > (CAST(:after_time AS timestamptz), CAST(:after_id AS bigint))
      AND (NOT CAST(:ran_only AS boolean) OR (kind IN ('post', 'void') AND target <> ''))
    ORDER BY created_at, entry_id LIMIT :limit
    """
)


class PostgresExports:
    """The `LedgerExports` port."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def page(
        self,
        project_id: str,
        days: DayRange,
        after: tuple[datetime, int] | None,
        limit: int,
        *,
        ran_only: bool,
    ) -> Sequence[LedgerEntry]:
        after_time, after_id = after or (days.begins_at, 0)
        found = await self._session.execute(
            _PAGE,
            {
                "project_id": project_id,
                "begins_at": days.begins_at,
                "ends_before": days.ends_before,
                "after_time": after_time,
                "after_id": after_id,
                "ran_only": ran_only,
                "limit": limit,
            },
        )
        return [_to_entry(row) for row in found]


def _to_entry(row: Row[Any]) -> LedgerEntry:
    return LedgerEntry(
        entry_id=row.entry_id,
        booked_at=row.created_at,
        finished_at=row.finished_at,
        kind=EntryKind(row.kind),
        job_id=row.job_id,
        job_type=row.job_type,
        job_state=row.job_state,
        target=row.target,
        model=row.model,
        complexity=row.complexity,
        tokens_input=row.tokens_input,
        tokens_output=row.tokens_output,
        usage_source=row.usage_source,
        amount_nanousd=row.amount_nanousd,
        provider_cost_nanousd=row.provider_cost_nanousd,
        price_version=row.price_version,
        api_key_id=row.api_key_id,
    )
