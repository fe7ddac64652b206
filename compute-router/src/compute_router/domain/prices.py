"""What targets charge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_MILLION: Final = 1_000_000
_ANY_MODEL: Final = "*"


@dataclass(frozen=True, slots=True)
class Price:
    """In nano-USD per million tokens."""

    input_nanousd_per_million: int
    output_nanousd_per_million: int

    def cost_nanousd(self, tokens_input: int, tokens_output: int) -> int:
        """Return the cost of so many tokens, rounded up once."""
        exact = (
            tokens_input * self.input_nanousd_per_million
            + tokens_output * self.output_nanousd_per_million
        )
        return -(-exact // _MILLION)


@dataclass(frozen=True, slots=True)
class PriceBook:
    """One version of the price book: (target, model) -> price; `*` is every other model."""

    version: str
    prices: Mapping[tuple[str, str], Price]

    def find(self, target: str, model: str) -> Price | None:
        return self.prices.get((target, model)) or self.prices.get((target, _ANY_MODEL))
