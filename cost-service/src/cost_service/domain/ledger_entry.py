"""An entry of the ledger, as it is handed out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cost_service.domain.settlement import EntryKind


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One entry with the outcome that came with it. Amounts are never negative."""

    entry_id: int
    booked_at: datetime
    finished_at: datetime | None
    kind: EntryKind
    job_id: str
    job_type: str
    job_state: str
    target: str
    model: str
    complexity: int | None
    tokens_input: int
    tokens_output: int
    usage_source: str
    amount_nanousd: int
    provider_cost_nanousd: int
    price_version: str
    api_key_id: str

    @property
    def cost_nanousd(self) -> int:
        """What it adds to what the tenant owes; negative for a refund."""
        return self.kind.sign * self.amount_nanousd
