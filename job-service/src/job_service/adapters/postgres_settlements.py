"""The settlement outbox in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import CTE, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from job_service.adapters import documents
from job_service.adapters.tables import receipts, settlements
from job_service.domain.receipt import Receipt
from job_service.domain.settlement import Settlement, SettlementKind


class PostgresSettlements:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, settlement: Settlement, receipt: Receipt | None = None) -> bool:
        added = (
            insert(settlements)
            .values(
                hold_id=settlement.hold_id,
                job_id=settlement.job_id,
                kind=settlement.kind.value,
                amount_nanousd=settlement.amount_nanousd,
                scopes=documents.scopes_to_document(settlement.scopes),
                outcome=documents.outcome_to_document(settlement.outcome),
            )
            .on_conflict_do_nothing()
            .returning(settlements.c.hold_id)
            .cte("added")
        )
        statement = select(added.c.hold_id)
        if receipt is not None:
            # One statement, one round trip: the receipt costs the transaction no time of its own.
            statement = statement.add_cte(_receipt_row(receipt))
        return await self._session.scalar(statement) is not None

    async def claim(self, limit: int, lease_seconds: float) -> Sequence[Settlement]:
        due = (
            select(settlements.c.hold_id)
            .where(settlements.c.sent_at.is_(None), settlements.c.next_attempt_at <= func.now())
            .order_by(settlements.c.next_attempt_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte("due")
        )
        claimed = await self._session.execute(
            update(settlements)
            .where(settlements.c.hold_id == due.c.hold_id)
            .values(
                next_attempt_at=func.now() + timedelta(seconds=lease_seconds),
                attempts=settlements.c.attempts + 1,
            )
            .returning(*settlements.c)
        )
        return [
            Settlement(
                hold_id=row["hold_id"],
                job_id=row["job_id"],
                kind=SettlementKind(row["kind"]),
                amount_nanousd=row["amount_nanousd"],
                scopes=documents.scopes_from(row["scopes"]),
                outcome=documents.outcome_from(row["outcome"]),
                attempts=row["attempts"],
                created_at=row["created_at"],
            )
            for row in claimed.mappings()
        ]

    async def mark_sent(self, hold_ids: Sequence[str]) -> None:
        await self._session.execute(
            update(settlements)
            .where(settlements.c.hold_id.in_(hold_ids), settlements.c.sent_at.is_(None))
            .values(sent_at=func.now(), last_error=None)
        )

    async def postpone(self, hold_id: str, error: str, seconds: float) -> None:
        await self._session.execute(
            update(settlements)
            .where(settlements.c.hold_id == hold_id, settlements.c.sent_at.is_(None))
            .values(
                last_error=error.replace("\0", "\ufffd"),
                next_attempt_at=func.now() + timedelta(seconds=seconds),
            )
        )

    async def resend(self, hold_id: str, sent_before_seconds: float) -> bool:
        long_ago = func.now() - timedelta(seconds=sent_before_seconds)
        found = await self._session.scalar(
            update(settlements)
            .where(settlements.c.hold_id == hold_id, settlements.c.sent_at < long_ago)
            .values(sent_at=None, next_attempt_at=func.now())
            .returning(settlements.c.hold_id)
        )
        return found is not None


def _receipt_row(receipt: Receipt) -> CTE:
    """Add the receipt, unless the job has one: a receipt never changes."""
    return (
        insert(receipts)
        .values(
            job_id=receipt.job_id,
            admission=receipt.admission,
            statement=receipt.statement.decode(),
            key_id=receipt.key_id,
            signature=receipt.signature,
        )
        .on_conflict_do_nothing()
        .returning(receipts.c.job_id)
        .cte("vouched")
    )
