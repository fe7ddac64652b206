"""cost-service: the ledger, and the price book that is kept here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Final

import grpc
from weir.cost.v1 import ledger_service_pb2 as ledger_pb
from weir.cost.v1 import ledger_service_pb2_grpc as ledger_grpc
from weir.cost.v1 import price_service_pb2 as price_pb
from weir.cost.v1 import price_service_pb2_grpc as price_grpc

from job_service.domain.budget_scope import BudgetScope
from job_service.domain.charge import Price, PriceBook
from job_service.domain.job import Job
from job_service.domain.settlement import Settlement, SettlementKind
from job_service.usecases.ledger_ports import OpenHold, PlacedHold
from service_kit.clock import Clock
from service_kit.errors import Unavailable
from service_kit.grpc_errors import rpc_errors

SETTLE_SECONDS: Final = 3.0
PAGE: Final = 500
SCOPE_KINDS: Final = {
    "project": ledger_pb.BUDGET_SCOPE_KIND_PROJECT,
    "team": ledger_pb.BUDGET_SCOPE_KIND_TEAM,
    "api_key": ledger_pb.BUDGET_SCOPE_KIND_API_KEY,
}


class LedgerClient:
    """The port `Ledger` over a channel to cost-service."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._ledger = ledger_grpc.LedgerServiceStub(channel)

    async def place_hold(self, job: Job) -> PlacedHold:
        terms = job.agreed
        with rpc_errors():
            response = await self._ledger.PlaceHold(
                ledger_pb.PlaceHoldRequest(
                    hold_id=job.hold_id,
                    scopes=scopes_to_proto(job.scopes),
                    amount_nanousd=terms.hold_nanousd,
                    price_version=terms.price_version,
                )
            )
        placed_at = response.hold.created_at.ToDatetime(tzinfo=UTC)
        return PlacedHold(response.hold.amount_nanousd, f"{placed_at:%Y-%m}")

    async def settle(self, settlement: Settlement) -> bool:
        scopes = scopes_to_proto(settlement.scopes)
        outcome = outcome_to_proto(settlement)
        with rpc_errors():
            if settlement.kind is SettlementKind.POST:
                posted = await self._ledger.PostHold(
                    ledger_pb.PostHoldRequest(
                        hold_id=settlement.hold_id,
                        amount_nanousd=settlement.amount_nanousd,
                        scopes=scopes,
                        outcome=outcome,
                    ),
                    timeout=SETTLE_SECONDS,
                )
                return posted.booked
            voided = await self._ledger.VoidHold(
                ledger_pb.VoidHoldRequest(
                    hold_id=settlement.hold_id, scopes=scopes, outcome=outcome
                ),
                timeout=SETTLE_SECONDS,
            )
        return voided.booked

    async def open_holds(self, min_age_seconds: float) -> Sequence[OpenHold]:
        found: list[OpenHold] = []
        token = ""
        while True:
            with rpc_errors():
                page = await self._ledger.ListOpenHolds(
                    ledger_pb.ListOpenHoldsRequest(
                        min_age_seconds=int(min_age_seconds), page_size=PAGE, page_token=token
                    )
                )
            found += [
                OpenHold(hold.hold_id, hold.created_at.ToDatetime(tzinfo=UTC))
                for hold in page.holds
            ]
            token = page.next_page_token
            if not token:
                return found


class KeptPrices:
    """The port `Prices`: the price book as last fetched, however long ago.

    Args:
        channel: To cost-service.
        clock: Tells how old the book is.
        keep_seconds: When to fetch it again.
    """

    def __init__(self, channel: grpc.aio.Channel, clock: Clock, keep_seconds: float) -> None:
        self._prices = price_grpc.PriceServiceStub(channel)
        self._clock = clock
        self._keep_seconds = keep_seconds
        self._book: PriceBook | None = None
        self._fetched_at = 0.0

    def current(self) -> PriceBook:
        if self._book is None:
            raise Unavailable("price book")
        return self._book

    async def refresh(self) -> None:
        """Fetch the book if the one kept is old. Run it in a loop, more often than that."""
        now = self._clock.monotonic()
        if self._book is not None and now - self._fetched_at < self._keep_seconds:
            return
        with rpc_errors():
            response = await self._prices.GetPriceSnapshot(price_pb.GetPriceSnapshotRequest())
        self._book = book_from_proto(response.price_snapshot)
        self._fetched_at = now


def scopes_to_proto(scopes: tuple[BudgetScope, ...]) -> list[ledger_pb.BudgetScope]:
    return [
        ledger_pb.BudgetScope(
            kind=SCOPE_KINDS[scope.kind],
            scope_id=scope.scope_id,
            owner_user_id=scope.owner_user_id,
            default_cap=scope.default_cap,
        )
        for scope in scopes
    ]


def outcome_to_proto(settlement: Settlement) -> ledger_pb.OutcomeSummary:
    outcome = settlement.outcome
    period = outcome.period
    if not period and settlement.created_at is not None:
        period = f"{settlement.created_at.astimezone(UTC):%Y-%m}"
    summary = ledger_pb.OutcomeSummary(
        job_id=outcome.job_id,
        project_id=outcome.project_id,
        job_state=outcome.job_state,
        target=outcome.target,
        model=outcome.model,
        tokens_input=outcome.tokens_input,
        tokens_output=outcome.tokens_output,
        usage_source=outcome.usage_source,
        provider_cost_nanousd=outcome.provider_cost_nanousd,
        price_version=outcome.price_version,
        period=period,
        job_type=outcome.job_type,
        complexity=outcome.complexity,
        complexity_threshold=outcome.complexity_threshold,
    )
    if settlement.created_at is not None:
        summary.finished_at.FromDatetime(settlement.created_at)
    return summary


def book_from_proto(snapshot: price_pb.PriceSnapshot) -> PriceBook:
    return PriceBook(
        snapshot.price_version,
        tuple(
            Price(
                price.target,
                price.model,
                price.input_nanousd_per_million,
                price.output_nanousd_per_million,
            )
            for price in snapshot.prices
        ),
    )
