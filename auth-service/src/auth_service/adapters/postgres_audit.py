"""The audit log in Postgres, where this service may insert, read, and archive what is old."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.adapters.tables import audit_entries
from auth_service.domain.audit import AuditEntry
from service_kit.ids import new_id
from service_kit.request_context import request_id


class PostgresAudit:
    """See `ports.Audit`. The current request's id is written with each entry."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, entry: AuditEntry) -> None:
        await self._session.execute(
            insert(audit_entries).values(
                entry_id=new_id(),
                occurred_at=entry.occurred_at,
                action=entry.action,
                user_id=entry.user_id,
                subject=entry.subject,
                request_id=request_id(),
            )
        )

    async def archive(self, older_than: datetime, limit: int) -> int:
        # Only this function of the database's may; it checks that nothing gets lost.
        query = select(func.archive_audit_entries(older_than, limit))
        return await self._session.scalar(query) or 0
