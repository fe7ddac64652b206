"""Receipts in Postgres, and the public keys to verify them with. Rows are only ever added."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import RowMapping, Select, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from job_service.adapters.tables import receipt_keys, receipts
from job_service.domain.receipt import Receipt, ReceiptKey


class KnownKeys:
    """Whose the keys are that a committed transaction of ours has seen stored."""

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}

    def find(self, key_id: str) -> str | None:
        return self._owners.get(key_id)

    def add(self, owners: dict[str, str]) -> None:
        self._owners |= owners


class PostgresReceipts:
    """The receipt repository of one transaction.

    Args:
        session: The transaction.
        known: Keys that need no asking any more.
    """

    def __init__(self, session: AsyncSession, known: KnownKeys) -> None:
        self._session = session
        self._known = known
        self.seen: dict[str, str] = {}
        """Keys that are known once the transaction has committed."""

    async def keep_key(self, key: ReceiptKey) -> str:
        owner = self._known.find(key.key_id) or self.seen.get(key.key_id)
        if owner is None:
            owner = self.seen[key.key_id] = await self._add_key(key)
        return owner

    async def _add_key(self, key: ReceiptKey) -> str:
        await self._session.execute(
            insert(receipt_keys)
            .values(key_id=key.key_id, public_key=key.public_key, owner=key.owner)
            .on_conflict_do_nothing()
        )
        # Where somebody else kept it first, that is committed by now.
        query = select(receipt_keys.c.owner).where(receipt_keys.c.key_id == key.key_id)
        owner: str = (await self._session.execute(query)).scalar_one()
        return owner

    async def find(self, job_id: str) -> Receipt | None:
        query = (
            select(receipts)
            .where(receipts.c.job_id == job_id)
            .order_by(receipts.c.admission.desc())
            .limit(1)
        )
        row = (await self._session.execute(query)).mappings().one_or_none()
        if row is None:
            return None
        return Receipt(
            job_id, row["admission"], row["statement"].encode(), row["key_id"], row["signature"]
        )

    async def find_keys(self, key_ids: Sequence[str]) -> Sequence[ReceiptKey]:
        return await self._keys(select(receipt_keys).where(receipt_keys.c.key_id.in_(key_ids)))

    async def list_keys(self) -> Sequence[ReceiptKey]:
        return await self._keys(select(receipt_keys))

    async def _keys(self, query: Select[tuple[object, ...]]) -> Sequence[ReceiptKey]:
        newest_first = query.order_by(receipt_keys.c.created_at.desc(), receipt_keys.c.key_id)
        return [_key(row) for row in (await self._session.execute(newest_first)).mappings()]


def _key(row: RowMapping) -> ReceiptKey:
    return ReceiptKey(row["key_id"], row["public_key"], row["owner"], row["created_at"])
