"""cost-service's ledger, and what is on its way there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from job_service.domain.job import Job
from job_service.domain.receipt import Receipt, ReceiptKey
from job_service.domain.settlement import Settlement


class SettlementRepository(Protocol):
    """The outbox."""

    async def add(self, settlement: Settlement, receipt: Receipt | None = None) -> bool:
        """Add a settlement unless its hold has one; tell whether it was added.

        The receipt of the same end goes along, unless its admission has one.
        """
        ...

    async def claim(self, limit: int, lease_seconds: float) -> Sequence[Settlement]:
        """Return unsent settlements that are due, and keep them from others for a while."""
        ...

    async def mark_sent(self, hold_ids: Sequence[str]) -> None: ...

    async def postpone(self, hold_id: str, error: str, seconds: float) -> None:
        """Note why a settlement was not taken, and when to try again."""
        ...

    async def resend(self, hold_id: str, sent_before_seconds: float) -> bool:
        """Send a settlement again that was sent long ago; tell whether there is such a one."""
        ...


class ReceiptRepository(Protocol):
    """Receipts and public keys. What is here stays as it is."""

    async def keep_key(self, key: ReceiptKey) -> str:
        """Keep a key for good, and return whose it is: it may have had an owner before."""
        ...

    async def find(self, job_id: str) -> Receipt | None:
        """Return the receipt of a job of any project: that of its newest admission."""
        ...

    async def find_keys(self, key_ids: Sequence[str]) -> Sequence[ReceiptKey]: ...

    async def list_keys(self) -> Sequence[ReceiptKey]:
        """Return all keys, newest first."""
        ...


@dataclass(frozen=True, slots=True)
class PlacedHold:
    amount_nanousd: int
    period: str


@dataclass(frozen=True, slots=True)
class OpenHold:
    hold_id: str
    created_at: datetime


class Ledger(Protocol):
    """cost-service's ledger."""

    async def place_hold(self, job: Job) -> PlacedHold:
        """Hold a job's worst case; the same hold again gives the same answer.

        Raises:
            ServiceError: `BUDGET_EXCEEDED`, `NO_BUDGET`, `HOLD_SETTLED`, or it is away.
        """
        ...

    async def settle(self, settlement: Settlement) -> bool:
        """Post or void a hold. Tell whether this changed anything."""
        ...

    async def open_holds(self, min_age_seconds: float) -> Sequence[OpenHold]:
        """Return holds that nobody settled for so long."""
        ...
