"""Prices. Those in US dollars are views; the exact ones end in `_nanousd_per_million`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field

from gateway.entrypoints.schemas.base import RequestBody, UsdAmount, View


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("no such moment in UTC") from error


PriceName = Annotated[str, Field(min_length=1, max_length=200)]


class PriceBody(RequestBody):
    """What a target charges for a model, in US dollars per million tokens."""

    target: PriceName
    model: PriceName
    """`*` for every model of the target without a price of its own."""
    input_usd_per_million: UsdAmount
    output_usd_per_million: UsdAmount


class AddPriceVersionBody(RequestBody):
    """A new version of the price book, with all its prices."""

    price_version: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,128}$")]
    valid_from: Annotated[AwareDatetime, AfterValidator(_in_utc)] | None = None
    """Now where it is missing; never in the past."""
    note: Annotated[str, Field(max_length=200)] = ""
    prices: Annotated[list[PriceBody], Field(min_length=1, max_length=1000)]


class PriceView(View):
    """What a target charges for a model."""

    target: str
    model: str
    input_usd_per_million: float
    input_nanousd_per_million: int
    output_usd_per_million: float
    output_nanousd_per_million: int


class PriceVersionSummaryView(View):
    """A version of the price book, without its prices."""

    price_version: str
    valid_from: datetime
    note: str
    is_current: bool
    """Whether new work is priced with it."""


class PriceVersionView(PriceVersionSummaryView):
    """A version of the price book."""

    prices: list[PriceView]


class AddedPriceVersionView(PriceVersionView):
    """A version of the price book, as the answer to adding it."""

    lost_prices: list[PriceView]
    """Prices of the version before that nothing here replaces: that work is refused then."""


class PriceVersionsView(View):
    """A page of versions, latest `valid_from` first."""

    price_versions: list[PriceVersionSummaryView]
    next_page_token: str
