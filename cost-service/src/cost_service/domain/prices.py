"""The price book: what targets charge, in dated versions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Price:
    """What a target charges for a model; `*` is every model without a price of its own."""

    target: str
    model: str
    input_nanousd_per_million: int
    output_nanousd_per_million: int


@dataclass(frozen=True, slots=True)
class PriceSnapshot:
    """One version of the price book."""

    price_version: str
    prices: tuple[Price, ...]
    valid_from: datetime
