"""The price book: what targets charge, in dated versions that never change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from cost_service.domain.names import kept_text, require_id
from service_kit.errors import InvalidArgument

NANOUSD_PER_USD: Final = 10**9
TOKENS_PER_PRICE: Final = 1_000_000
# A US dollar a token. Dearer is a slip of the pen, and its holds might not fit into 64 bits.
MAX_NANOUSD_PER_MILLION: Final = 10**15
MAX_PRICES: Final = 1000
ANY_MODEL: Final = "*"


@dataclass(frozen=True, slots=True)
class Price:
    """What a target charges for a model; `*` is every model without a price of its own."""

    target: str
    model: str
    input_nanousd_per_million: int
    output_nanousd_per_million: int

    @property
    def key(self) -> tuple[str, str]:
        """What a version has one price for."""
        return (self.target, self.model)

    def cost(self, tokens_input: int, tokens_output: int) -> int:
        """Return what so many tokens cost, in nano-USD, rounded up once."""
        raw = (
            tokens_input * self.input_nanousd_per_million
            + tokens_output * self.output_nanousd_per_million
        )
        return -(-raw // TOKENS_PER_PRICE)


@dataclass(frozen=True, slots=True)
class PriceSnapshot:
    """One version of the price book."""

    price_version: str
    prices: tuple[Price, ...]
    valid_from: datetime


@dataclass(frozen=True, slots=True)
class PriceVersion:
    """One version of the price book as it is stored, and whether new work is priced with it."""

    price_version: str
    valid_from: datetime
    note: str
    is_current: bool
    prices: tuple[Price, ...] = ()


@dataclass(frozen=True, slots=True)
class NewPriceVersion:
    """A version to be added; valid from now on where `valid_from` is `None`."""

    price_version: str
    valid_from: datetime | None
    note: str
    prices: tuple[Price, ...]

    def __post_init__(self) -> None:
        require_id("price_version", self.price_version)
        if kept_text(self.note) != self.note:
            raise InvalidArgument("note", "The note is too long.")
        if not 1 <= len(self.prices) <= MAX_PRICES:
            raise InvalidArgument("prices", f"A version has 1 to {MAX_PRICES} prices.")
        for price in self.prices:
            require_price(price)
        if len({price.key for price in self.prices}) != len(self.prices):
            raise InvalidArgument("prices", "A target's model may have only one price.")
        object.__setattr__(self, "prices", tuple(sorted(self.prices, key=lambda one: one.key)))

    def differences(self, stored: PriceVersion) -> tuple[str, ...]:
        """Return in what the stored version of this name differs from this one."""
        found = list(price_changes(stored.prices, self.prices))
        if self.valid_from is not None and self.valid_from != stored.valid_from:
            found.append(
                f"valid_from {stored.valid_from.isoformat()} -> {self.valid_from.isoformat()}"
            )
        if self.note != stored.note:
            found.append("another note")
        return tuple(found)


def require_price(price: Price) -> None:
    """Raise `InvalidArgument` unless the price may stand in a price book."""
    for field, name in (("target", price.target), ("model", price.model)):
        if not name or name != name.strip() or not name.isprintable() or kept_text(name) != name:
            raise InvalidArgument(field, f"The {field} is missing, too long or unprintable.")
    for field, amount in (
        ("input", price.input_nanousd_per_million),
        ("output", price.output_nanousd_per_million),
    ):
        if not 0 <= amount <= MAX_NANOUSD_PER_MILLION:
            raise InvalidArgument(field, f"The {field} price must be 0 to 1 US dollar a token.")


def nanousd_from_usd(usd: Decimal) -> int:
    """Return whole nano-USD.

    Raises:
        InvalidArgument: The amount is negative, not finite, or finer than a nano-dollar.
    """
    if not usd.is_finite() or usd < 0:
        raise InvalidArgument("usd", "A price must be 0 or more.")
    nanousd = usd * NANOUSD_PER_USD
    if nanousd != nanousd.to_integral_value():
        raise InvalidArgument("usd", "A price has at most 9 decimals.")
    return int(nanousd)


def usd_text(nanousd: int) -> str:
    """Return an amount as plain decimal US dollars, exact: `0.075`."""
    whole, rest = divmod(nanousd, NANOUSD_PER_USD)
    return f"{whole}.{rest:09d}".rstrip("0").rstrip(".")


def price_changes(before: Iterable[Price], after: Iterable[Price]) -> Iterator[str]:
    """Yield one line for each price that came, went or changed, in US dollars."""
    old = {price.key: price for price in before}
    new = {price.key: price for price in after}
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            yield f"{' '.join(key)}: {_shown(old.get(key))} -> {_shown(new.get(key))}"


def lost_prices(before: Iterable[Price], after: Iterable[Price]) -> tuple[Price, ...]:
    """Return the prices that nothing replaces: what only they covered gets no work any more."""
    kept = {price.key for price in after}
    return tuple(
        price
        for price in sorted(before, key=lambda one: one.key)
        if price.key not in kept and (price.target, ANY_MODEL) not in kept
    )


def names_of(prices: Iterable[Price]) -> str:
    """Return of what they are the prices: `local *, yotta big`."""
    return ", ".join(" ".join(price.key) for price in prices)


def _shown(price: Price | None) -> str:
    if price is None:
        return "no price"
    return (
        f"{usd_text(price.input_nanousd_per_million)} in, "
        f"{usd_text(price.output_nanousd_per_million)} out"
    )
