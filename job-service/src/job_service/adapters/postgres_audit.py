"""The audit trail in Postgres."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from job_service.adapters.tables import audit_entries
from service_kit.request_context import request_id


class PostgresAudit:
    """The `AuditTrail` port of one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(
        self, action: str, *, actor: str, subject: str, details: Mapping[str, str | int]
    ) -> None:
        await self._session.execute(
            insert(audit_entries).values(
                request_id=request_id(),
                actor=actor,
                action=action,
                subject=subject,
                details=dict(details),
            )
        )
