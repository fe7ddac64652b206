"""Idempotency keys in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from job_service.usecases.idempotency_ports import IdempotencyKey, Reservation

_FIND: Final = text(
    "SELECT job_id, body_hash, created_at AS taken_at FROM idempotency "
    "WHERE project_id = :project_id AND route = :route AND key = :key"
)
_TAKE: Final = text(
    "INSERT INTO idempotency (project_id, route, key, body_hash, job_id) "
    "VALUES (:project_id, :route, :key, :body_hash, :job_id) "
    "ON CONFLICT DO NOTHING RETURNING created_at"
)
_UNDER: Final = text(
    "SELECT job_id FROM idempotency "
    "WHERE project_id = :project_id AND route = :route AND job_id <> '' AND key = :key || job_id "
    "ORDER BY created_at"
)
_RELEASE: Final = text("DELETE FROM idempotency WHERE job_id = :job_id")


class PostgresIdempotency:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find(self, key: IdempotencyKey) -> Reservation | None:
        row = (await self._session.execute(_FIND, asdict(key))).one_or_none()
        return None if row is None else Reservation(**row._mapping)

    async def reserve(self, key: IdempotencyKey, wanted: Reservation) -> Reservation:
        # Who comes second waits here for the first one's commit, then sees its row. Where the
        # first one took its row away again in between, the key is free after all.
        while True:
            taken = await self._session.scalar(_TAKE, {**asdict(wanted), **asdict(key)})
            if taken is not None:
                return replace(wanted, taken_at=taken)
            found = await self.find(key)
            if found is not None:
                return found

    async def jobs_under(self, key: IdempotencyKey) -> Sequence[str]:
        return (await self._session.scalars(_UNDER, asdict(key))).all()

    async def release(self, job_id: str) -> None:
        await self._session.execute(_RELEASE, {"job_id": job_id})
