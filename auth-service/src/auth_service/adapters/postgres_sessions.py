"""Login sessions in Postgres."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.adapters.tables import sessions
from auth_service.domain.session import Session
from service_kit.ids import is_uuid


class PostgresSessions:
    """See `ports.Sessions`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, session: Session) -> None:
        await self._session.execute(insert(sessions).values(_values(session)))

    async def find_for_update(self, session_id: str) -> Session | None:
        if not is_uuid(session_id):
            return None
        query = select(sessions).where(sessions.c.session_id == session_id).with_for_update()
        row = (await self._session.execute(query)).one_or_none()
        return None if row is None else Session(**row._mapping)

    async def save(self, session: Session) -> None:
        await self._session.execute(
            update(sessions)
            .where(sessions.c.session_id == session.session_id)
            .values(_values(session))
        )

    async def count_active(self, user_id: str, now: datetime) -> int:
        query = (
            select(func.count())
            .select_from(sessions)
            .where(
                sessions.c.user_id == user_id,
                sessions.c.revoked_at.is_(None),
                sessions.c.expires_at > now,
            )
        )
        return await self._session.scalar(query) or 0

    async def delete_expired(self, now: datetime, limit: int) -> int:
        # A row that is being refreshed is left out: it may be about to live on.
        expired = (
            select(sessions.c.session_id)
            .where(sessions.c.expires_at <= now)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        done = await self._session.execute(
            delete(sessions)
            .where(sessions.c.session_id.in_(expired))
            .returning(sessions.c.session_id)
        )
        return len(done.all())


def _values(session: Session) -> dict[str, Any]:
    return {column.name: getattr(session, column.name) for column in sessions.columns}
