"""Users in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.adapters import locks
from auth_service.adapters.tables import sessions, users
from auth_service.domain.errors import EmailTaken, UsernameTaken
from auth_service.domain.identifiers import canonical
from auth_service.domain.user import ADMINISTRATORS, User, UserRole
from service_kit.ids import is_uuid


class PostgresUsers:
    """See `ports.Users`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, user: User) -> None:
        email = canonical(user.email)
        statement = insert(users).values(
            user_id=user.user_id,
            email=user.email,
            email_canonical=email,
            username=user.username,
            username_canonical=canonical(user.username),
            full_name=user.full_name,
            password_hash=user.password_hash,
            role=user.role,
            created_at=user.created_at,
            last_login_at=user.last_login_at,
        )
        # Waits for whoever is registering the same name, and leaves the transaction usable.
        statement = statement.on_conflict_do_nothing()
        if await self._session.scalar(statement.returning(users.c.user_id)) is not None:
            return
        if await self._session.scalar(select(exists().where(users.c.email_canonical == email))):
            raise EmailTaken()
        raise UsernameTaken()

    async def find(self, user_id: str) -> User | None:
        if not is_uuid(user_id):
            return None
        return await self._one(users.c.user_id == user_id)

    async def find_by_identifier(self, identifier: str) -> User | None:
        # A username holds no @, so a name means one column only.
        column = users.c.email_canonical if "@" in identifier else users.c.username_canonical
        return await self._one(column == identifier)

    async def record_login(self, user_id: str, at: datetime) -> None:
        await self._session.execute(
            update(users).where(users.c.user_id == user_id).values(last_login_at=at)
        )

    async def has_administrator(self) -> bool:
        await locks.take(self._session, locks.Lock.FIRST_ADMINISTRATOR)
        return bool(
            await self._session.scalar(select(exists().where(users.c.role.in_(ADMINISTRATORS))))
        )

    async def recount_sessions(self, now: datetime, *, after: str | None, limit: int) -> str | None:
        chosen = select(users.c.user_id).order_by(users.c.user_id).limit(limit)
        if after is not None:
            chosen = chosen.where(users.c.user_id > after)
        user_ids: Sequence[str] = (await self._session.scalars(chosen)).all()
        if not user_ids:
            return None
        active = (
            select(func.count())
            .where(
                sessions.c.user_id == users.c.user_id,
                sessions.c.revoked_at.is_(None),
                sessions.c.expires_at > now,
            )
            .scalar_subquery()
        )
        await self._session.execute(
            update(users)
            .where(users.c.user_id.in_(user_ids), users.c.active_sessions_count != active)
            .values(active_sessions_count=active)
        )
        return user_ids[-1]

    async def _one(self, condition: Any) -> User | None:
        row = (await self._session.execute(select(users).where(condition))).one_or_none()
        if row is None:
            return None
        return User(
            user_id=row.user_id,
            email=row.email,
            username=row.username,
            full_name=row.full_name,
            password_hash=row.password_hash,
            role=UserRole(row.role),
            created_at=row.created_at,
            last_login_at=row.last_login_at,
        )
