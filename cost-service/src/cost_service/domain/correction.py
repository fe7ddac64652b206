"""What is booked for a job after its charge: refunds and surcharges."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from cost_service.domain.budget_alert import BudgetAlert
from cost_service.domain.errors import RefundExceedsCharge
from cost_service.domain.names import MAX_NANOUSD, kept_text, require_id, require_request_id
from cost_service.domain.prices import usd_text
from cost_service.domain.settlement import EntryKind
from service_kit.errors import InvalidArgument

# A million US dollars: more is a slip of the pen.
MAX_SURCHARGE_NANOUSD: Final = 10**15


@dataclass(frozen=True, slots=True)
class Correction:
    """A refund or surcharge as it is asked for; admission 0 is the latest one that was charged."""

    request_id: str
    kind: EntryKind
    job_id: str
    admission: int
    amount_nanousd: int
    reason: str

    def __post_init__(self) -> None:
        require_request_id(self.request_id)
        require_id("job_id", self.job_id)
        if self.kind.settles:
            raise InvalidArgument("kind", "Only a refund or a surcharge corrects a charge.")
        if self.admission < 0:
            raise InvalidArgument("admission", "The admission must not be negative.")
        most = MAX_NANOUSD if self.kind is EntryKind.REFUND else MAX_SURCHARGE_NANOUSD
        if not 0 < self.amount_nanousd <= most:
            raise InvalidArgument(
                "amount", f"The amount must be more than 0 and at most {usd_text(most)} US dollars."
            )
        object.__setattr__(self, "reason", kept_text(self.reason.strip()))
        if not self.reason:
            raise InvalidArgument("reason", "A correction needs a reason.")

    def asks_for(self, entry: JobEntry) -> bool:
        """Tell whether the entry is what this asks for, so that it may be its answer."""
        job_id, _, admission = entry.hold_id.rpartition(":")
        return (
            entry.kind is self.kind
            and job_id == self.job_id
            and self.admission in (0, int(admission))
            and entry.amount_nanousd == self.amount_nanousd
            and entry.reason == self.reason
        )


@dataclass(frozen=True, slots=True)
class Charge:
    """What a hold was charged, and what became of that since."""

    hold_id: str
    posted_nanousd: int
    surcharged_nanousd: int
    refunded_nanousd: int

    @property
    def left_nanousd(self) -> int:
        """What may still be refunded."""
        return self.posted_nanousd + self.surcharged_nanousd - self.refunded_nanousd

    def corrected(self, correction: Correction) -> Charge:
        """Return the charge after the correction.

        Raises:
            RefundExceedsCharge: Less than that is left of it.
        """
        amount = correction.amount_nanousd
        if correction.kind is EntryKind.SURCHARGE:
            return replace(self, surcharged_nanousd=self.surcharged_nanousd + amount)
        if amount > self.left_nanousd:
            raise RefundExceedsCharge(
                self.hold_id, left_nanousd=self.left_nanousd, requested_nanousd=amount
            )
        return replace(self, refunded_nanousd=self.refunded_nanousd + amount)


@dataclass(frozen=True, slots=True)
class JobEntry:
    """One row of the ledger, as people see it."""

    entry_id: int
    kind: EntryKind
    hold_id: str
    job_id: str
    project_id: str
    amount_nanousd: int
    reason: str
    period: str
    price_version: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class BookedCorrection:
    """An entry that was booked just now, and alerts of budgets that it brought to a level."""

    entry: JobEntry
    alerts: tuple[BudgetAlert, ...] = ()
