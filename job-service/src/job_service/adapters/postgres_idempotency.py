"""Idempotency keys in Postgres."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from job_service.usecases.ports import IdempotencyKey, Reservation

_FIND: Final = text(
    "SELECT job_id, body_hash FROM idempotency "
    "WHERE project_id = :project_id AND route = :route AND key = :key"
)
_TAKE: Final = text(
    "INSERT INTO idempotency (project_id, route, key, body_hash, job_id) "
    "VALUES (:project_id, :route, :key, :body_hash, :job_id) "
    "ON CONFLICT DO NOTHING RETURNING job_id"
)
_RELEASE: Final = text("DELETE FROM idempotency WHERE job_id = :job_id")


class PostgresIdempotency:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find(self, key: IdempotencyKey) -> Reservation | None:
        row = (await self._session.execute(_FIND, asdict(key))).one_or_none()
        return None if row is None else Reservation(row.job_id, row.body_hash)

    async def reserve(self, key: IdempotencyKey, wanted: Reservation) -> Reservation:
        # Who comes second waits here for the first one's commit, then sees its row. Where the
        # first one took its row away again in between, the key is free after all.
        while True:
            taken = await self._session.scalar(_TAKE, {**asdict(key), **asdict(wanted)})
            if taken is not None:
                return wanted
            found = await self.find(key)
            if found is not None:
                return found

    async def release(self, job_id: str) -> None:
        await self._session.execute(_RELEASE, {"job_id": job_id})
