"""Between the protos' words for prices and ledger entries and their shapes in HTTP."""

from __future__ import annotations

from typing import Final, Literal

from weir.cost.v1 import correction_service_pb2 as correction_pb
from weir.cost.v1 import price_book_service_pb2 as book_pb
from weir.cost.v1 import price_service_pb2 as price_pb

from gateway.domain.money import usd_view
from gateway.entrypoints.convert import time_of
from gateway.entrypoints.schemas.corrections import LedgerEntryView
from gateway.entrypoints.schemas.prices import (
    AddedPriceVersionView,
    AddPriceVersionBody,
    PriceVersionSummaryView,
    PriceVersionView,
    PriceView,
)

EntryKindName = Literal["post", "void", "refund", "surcharge"]
ENTRY_KINDS: Final[dict[correction_pb.LedgerEntryKind.ValueType, EntryKindName]] = {
    correction_pb.LEDGER_ENTRY_KIND_POST: "post",
    correction_pb.LEDGER_ENTRY_KIND_VOID: "void",
    correction_pb.LEDGER_ENTRY_KIND_REFUND: "refund",
    correction_pb.LEDGER_ENTRY_KIND_SURCHARGE: "surcharge",
}


def add_price_version_request(
    body: AddPriceVersionBody, request_id: str
) -> book_pb.AddPriceVersionRequest:
    request = book_pb.AddPriceVersionRequest(
        request_id=request_id,
        price_version=body.price_version,
        note=body.note,
        prices=[
            price_pb.Price(
                target=price.target,
                model=price.model,
                input_nanousd_per_million=price.input_usd_per_million,
                output_nanousd_per_million=price.output_usd_per_million,
            )
            for price in body.prices
        ],
    )
    if body.valid_from is not None:
        request.valid_from.FromDatetime(body.valid_from)
    return request


def price_version_summary_view(version: book_pb.PriceVersion) -> PriceVersionSummaryView:
    return PriceVersionSummaryView(
        price_version=version.price_version,
        valid_from=time_of(version.valid_from),
        note=version.note,
        is_current=version.is_current,
    )


def price_version_view(version: book_pb.PriceVersion) -> PriceVersionView:
    return PriceVersionView(
        price_version=version.price_version,
        valid_from=time_of(version.valid_from),
        note=version.note,
        is_current=version.is_current,
        prices=[_price_view(price) for price in version.prices],
    )


def added_price_version_view(added: book_pb.AddPriceVersionResponse) -> AddedPriceVersionView:
    return AddedPriceVersionView(
        **dict(price_version_view(added.price_version)),
        lost_prices=[_price_view(price) for price in added.lost_prices],
    )


def _price_view(price: price_pb.Price) -> PriceView:
    return PriceView(
        target=price.target,
        model=price.model,
        input_usd_per_million=usd_view(price.input_nanousd_per_million),
        input_nanousd_per_million=price.input_nanousd_per_million,
        output_usd_per_million=usd_view(price.output_nanousd_per_million),
        output_nanousd_per_million=price.output_nanousd_per_million,
    )


def ledger_entry_view(entry: correction_pb.LedgerEntry) -> LedgerEntryView:
    return LedgerEntryView(
        entry_id=entry.entry_id,
        kind=ENTRY_KINDS[entry.kind],
        job_id=entry.job_id,
        project_id=entry.project_id,
        admission=int(entry.hold_id.rpartition(":")[2]),
        amount=usd_view(entry.amount_nanousd),
        amount_nanousd=entry.amount_nanousd,
        reason=entry.reason or None,
        period=entry.period,
        price_version=entry.price_version,
        created_at=time_of(entry.created_at),
    )
