"""API keys in Postgres: what is kept of the secret is its SHA-256."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.adapters.tables import api_keys
from auth_service.domain.api_key import ApiKey
from auth_service.domain.permissions import ApiKeyScope
from service_kit.ids import is_uuid

_COLUMNS = [column for column in api_keys.columns if column.name != "secret_hash"]


class PostgresApiKeys:
    """See `ports.ApiKeys`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, key: ApiKey, secret_hash: bytes) -> ApiKey:
        statement = (
            insert(api_keys)
            .values(_values(key) | {"secret_hash": secret_hash})
            .on_conflict_do_nothing(index_elements=["user_id", "request_id"])
            .returning(api_keys.c.key_id)
        )
        if await self._session.scalar(statement) is not None:
            return key
        query = select(*_COLUMNS).where(
            api_keys.c.user_id == key.user_id, api_keys.c.request_id == key.request_id
        )
        return _key((await self._session.execute(query)).one())

    async def find(self, key_id: str) -> ApiKey | None:
        if not is_uuid(key_id):
            return None
        query = select(*_COLUMNS).where(api_keys.c.key_id == key_id)
        row = (await self._session.execute(query)).one_or_none()
        return None if row is None else _key(row)

    async def find_by_hash(self, secret_hash: bytes) -> ApiKey | None:
        query = select(*_COLUMNS).where(api_keys.c.secret_hash == secret_hash)
        row = (await self._session.execute(query)).one_or_none()
        return None if row is None else _key(row)

    async def record_use(self, key_id: str, at: datetime) -> None:
        await self._session.execute(
            update(api_keys).where(api_keys.c.key_id == key_id).values(last_used_at=at)
        )

    async def list_of_project_for_update(self, project_id: str) -> Sequence[ApiKey]:
        query = (
            select(*_COLUMNS)
            .where(api_keys.c.project_id == project_id, api_keys.c.deleted_at.is_(None))
            .order_by(api_keys.c.key_id)
            .with_for_update()
        )
        return [_key(row) for row in await self._session.execute(query)]

    async def save(self, key: ApiKey) -> None:
        await self._session.execute(
            update(api_keys).where(api_keys.c.key_id == key.key_id).values(_values(key))
        )


def _values(key: ApiKey) -> dict[str, Any]:
    values = {column.name: getattr(key, column.name) for column in _COLUMNS}
    return values | {"scopes": list(key.scopes)}


def _key(row: Row[Any]) -> ApiKey:
    key = ApiKey(**row._mapping)
    return replace(key, scopes=tuple(ApiKeyScope(scope) for scope in key.scopes))
