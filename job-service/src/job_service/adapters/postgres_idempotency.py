"""Idempotency keys in Postgres."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from job_service.adapters.tables import idempotency
from job_service.usecases.ports import IdempotencyKey, Reservation


class PostgresIdempotency:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find(self, key: IdempotencyKey) -> Reservation | None:
        query = select(idempotency.c.job_id, idempotency.c.body_hash).where(_is(key))
        row = (await self._session.execute(query)).one_or_none()
        return None if row is None else Reservation(row.job_id, row.body_hash)

    async def reserve(self, key: IdempotencyKey, wanted: Reservation) -> Reservation:
        # Who comes second waits here for the first one's commit, then sees its row. Where the
        # first one took its row away again in between, the key is free after all.
        while True:
            taken = await self._session.scalar(
                insert(idempotency)
                .values(
                    project_id=key.project_id,
                    route=key.route,
                    key=key.key,
                    body_hash=wanted.body_hash,
                    job_id=wanted.job_id,
                )
                .on_conflict_do_nothing()
                .returning(idempotency.c.job_id)
            )
            if taken is not None:
                return wanted
            found = await self.find(key)
            if found is not None:
                return found

    async def release(self, job_id: str) -> None:
        await self._session.execute(delete(idempotency).where(idempotency.c.job_id == job_id))


def _is(key: IdempotencyKey) -> ColumnElement[bool]:
    return and_(
        idempotency.c.project_id == key.project_id,
        idempotency.c.route == key.route,
        idempotency.c.key == key.key,
    )
