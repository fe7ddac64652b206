"""Counts what happens to money, without saying whose it is."""

from __future__ import annotations

from decimal import Decimal

from prometheus_client import CollectorRegistry, Counter

from cost_service.domain.budget import LEVELS, BudgetStatus
from cost_service.domain.correction import JobEntry
from cost_service.domain.settlement import Booking, EntryKind, Settlement
from cost_service.usecases.ports import HoldOutcome


class CostMetrics:
    """The `CostMeter` port over Prometheus."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._holds = Counter(
            "cost_holds_total", "Answers to requests for a hold.", ["outcome"], registry=registry
        )
        self._entries = Counter(
            "cost_ledger_entries_total", "Entries booked.", ["kind"], registry=registry
        )
        self._repeated = Counter(
            "cost_settlements_repeated_total",
            "Posts and voids of holds that were settled before.",
            registry=registry,
        )
        self._without_hold = Counter(
            "cost_post_without_hold_total",
            "Charges booked although nothing was held for them.",
            registry=registry,
        )
        self._beyond_hold = Counter(
            "cost_post_beyond_hold_total",
            "Charges cut to what was held for them.",
            registry=registry,
        )
        self._charged_usd = Counter(
            "compute_cost_usd_total",
            "US dollars charged. Rounded: the ledger is exact, this is a view.",
            registry=registry,
        )
        self._refunded_usd = Counter(
            "cost_refunded_usd_total",
            "US dollars given back of what was charged. Rounded, like the charges.",
            registry=registry,
        )
        self._alerts = Counter(
            "budget_alerts_total",
            "Budgets whose spending came to a level of their cap.",
            ["level"],
            registry=registry,
        )
        for level in LEVELS:
            self._alerts.labels(level.value)
        for outcome in HoldOutcome:
            self._holds.labels(outcome.value)
        for kind in EntryKind:
            self._entries.labels(kind.value)

    def hold_answered(self, outcome: HoldOutcome) -> None:
        self._holds.labels(outcome.value).inc()

    def settlement_booked(self, settlement: Settlement, booking: Booking) -> None:
        self._entries.labels(settlement.kind.value).inc()
        self._charged_usd.inc(_usd(booking.charged_nanousd))
        if booking.excess_nanousd:
            self._beyond_hold.inc()
        if not booking.had_hold and settlement.kind is EntryKind.POST:
            self._without_hold.inc()

    def settlement_repeated(self) -> None:
        self._repeated.inc()

    def budget_alerted(self, level: BudgetStatus) -> None:
        self._alerts.labels(level.value).inc()

    def correction_booked(self, entry: JobEntry) -> None:
        self._entries.labels(entry.kind.value).inc()
        sums = self._refunded_usd if entry.kind is EntryKind.REFUND else self._charged_usd
        sums.inc(_usd(entry.amount_nanousd))


def _usd(nanousd: int) -> float:
    return float(Decimal(nanousd).scaleb(-9))
