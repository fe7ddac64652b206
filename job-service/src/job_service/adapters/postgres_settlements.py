"""The settlement outbox in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Interval, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from job_service.adapters import documents
from job_service.adapters.tables import settlements
from job_service.domain.receipt import Receipt
from job_service.domain.settlement import Settlement, SettlementKind

_ADD: Final = """
    INSERT INTO settlements (hold_id, job_id, kind, amount_nanousd, scopes, outcome)
    VALUES (:hold_id, :job_id, :kind, :amount_nanousd, :scopes, :outcome)
    ON CONFLICT DO NOTHING RETURNING hold_id
    """
_DOCUMENTS: Final = (bindparam("scopes", type_=JSONB()), bindparam("outcome", type_=JSONB()))
_ADD_ALONE: Final = text(_ADD).bindparams(*_DOCUMENTS)
# One statement, one round trip: the receipt costs the transaction no time of its own. A receipt
# that is there stays: it never changes.
_ADD_WITH_RECEIPT: Final = text(
    f"""
    WITH added AS ({_ADD}), vouched AS (
        INSERT INTO receipts (job_id, admission, statement, key_id, signature)
        VALUES (:job_id, :admission, :statement, :key_id, :signature)
        ON CONFLICT DO NOTHING
    )
    SELECT hold_id FROM added
    """  # noqa: S608
).bindparams(*_DOCUMENTS)
_CLAIM: Final = (
    text(
        """
    WITH due AS MATERIALIZED (
        SELECT hold_id FROM settlements
        WHERE sent_at IS NULL AND next_attempt_at <= now()
        ORDER BY next_attempt_at LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    UPDATE settlements SET next_attempt_at = now() + :lease, attempts = settlements.attempts + 1
    FROM due WHERE settlements.hold_id = due.hold_id
    RETURNING settlements.*
    """
    )
    .bindparams(bindparam("lease", type_=Interval()))
    .columns(*settlements.c)
)
_MARK_SENT: Final = text(
    "UPDATE settlements SET sent_at = now(), last_error = NULL "
    "WHERE hold_id = ANY(CAST(:hold_ids AS text[])) AND sent_at IS NULL"
)
_POSTPONE: Final = text(
    "UPDATE settlements SET last_error = :error, next_attempt_at = now() + :pause "
    "WHERE hold_id = :hold_id AND sent_at IS NULL"
).bindparams(bindparam("pause", type_=Interval()))
_RESEND: Final = text(
    "UPDATE settlements SET sent_at = NULL, next_attempt_at = now() "
    "WHERE hold_id = :hold_id AND sent_at < now() - :sent_before RETURNING hold_id"
).bindparams(bindparam("sent_before", type_=Interval()))


class PostgresSettlements:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, settlement: Settlement, receipt: Receipt | None = None) -> bool:
        values: dict[str, Any] = {
            "hold_id": settlement.hold_id,
            "job_id": settlement.job_id,
            "kind": settlement.kind.value,
            "amount_nanousd": settlement.amount_nanousd,
            "scopes": documents.scopes_to_document(settlement.scopes),
            "outcome": documents.outcome_to_document(settlement.outcome),
        }
        if receipt is None:
            return await self._session.scalar(_ADD_ALONE, values) is not None
        values |= {
            "admission": receipt.admission,
            "statement": receipt.statement.decode(),
            "key_id": receipt.key_id,
            "signature": receipt.signature,
        }
        return await self._session.scalar(_ADD_WITH_RECEIPT, values) is not None

    async def claim(self, limit: int, lease_seconds: float) -> Sequence[Settlement]:
        claimed = await self._session.execute(
            _CLAIM, {"limit": limit, "lease": timedelta(seconds=lease_seconds)}
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
        await self._session.execute(_MARK_SENT, {"hold_ids": list(hold_ids)})

    async def postpone(self, hold_id: str, error: str, seconds: float) -> None:
        await self._session.execute(
            _POSTPONE,
            {
                "hold_id": hold_id,
                "error": error.replace("\0", "\ufffd"),
                "pause": timedelta(seconds=seconds),
            },
        )

    async def resend(self, hold_id: str, sent_before_seconds: float) -> bool:
        found = await self._session.scalar(
            _RESEND, {"hold_id": hold_id, "sent_before": timedelta(seconds=sent_before_seconds)}
        )
        return found is not None
