"""Denials in Postgres, in an order that no reader can miss a part of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.adapters import locks
from auth_service.adapters.tables import denials
from auth_service.domain.denial import Denial, DenialKind


class PostgresDenials:
    """See `ports.Denials`.

    A sequence gives out 7 before 8, but the transaction with 8 may commit
    first; a verifier that read 8 would then never ask for 7. So the number is
    taken under a lock that is held until the commit can be seen.
    """

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, denial: Denial) -> None:
        await locks.take(self._session, locks.Lock.DENIAL_SEQUENCE)
        await self._session.execute(
            insert(denials).values(
                kind=denial.kind,
                subject=denial.subject,
                denied_at=denial.denied_at,
                expires_at=denial.expires_at,
            )
        )

    async def list_after(self, sequence: int, now: datetime, limit: int) -> Sequence[Denial]:
        query = (
            select(denials)
            .where(denials.c.sequence > sequence, denials.c.expires_at > now)
            .order_by(denials.c.sequence)
            .limit(limit)
        )
        return [
            Denial(
                kind=DenialKind(row.kind),
                subject=row.subject,
                denied_at=row.denied_at,
                expires_at=row.expires_at,
                sequence=row.sequence,
            )
            for row in await self._session.execute(query)
        ]

    async def delete_expired(self, before: datetime, limit: int) -> int:
        # What another replica is deleting is left to it.
        expired = (
            select(denials.c.sequence)
            .where(denials.c.expires_at <= before)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        done = await self._session.execute(
            delete(denials).where(denials.c.sequence.in_(expired)).returning(denials.c.sequence)
        )
        return len(done.all())
