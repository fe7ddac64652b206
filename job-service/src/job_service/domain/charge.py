"""What a job may cost at most, and what it did cost. Whole nano-USD throughout."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

TOKENS_PER_PRICE: Final = 1_000_000
ANY_MODEL: Final = "*"
# An honest executor stays within what was held. A little more is charged at the hold and
# flagged; beyond this factor the figure is no usage at all, and is counted here instead.
ABSURD_FACTOR: Final = 2
ABSURD_SLACK_TOKENS: Final = 100
# Where only the worker's tokenizer could tell: English text has about four bytes a token.
BYTES_PER_COUNTED_TOKEN: Final = 4
# What a tokenizer may add to each bare text: its marks of begin and end, a leading space.
INPUT_OVERHEAD_TOKENS: Final = 4


class UsageSource(StrEnum):
    """Who counted the tokens that were charged."""

    REPORTED = "reported"
    COUNTED = "counted"


@dataclass(frozen=True, slots=True)
class Usage:
    tokens_input: int
    tokens_output: int
    tokens_input_cached: int = 0

    @property
    def is_zero(self) -> bool:
        return self.tokens_input == 0 and self.tokens_output == 0


@dataclass(frozen=True, slots=True)
class Price:
    """What a target charges for a model, in nano-USD per million tokens."""

    target: str
    model: str
    input_nanousd: int
    output_nanousd: int

    def cost(self, usage: Usage) -> int:
        """Return the cost in nano-USD, rounded up once."""
        raw = usage.tokens_input * self.input_nanousd + usage.tokens_output * self.output_nanousd
        return -(-raw // TOKENS_PER_PRICE)


@dataclass(frozen=True, slots=True)
class PriceBook:
    """All prices that were valid at one time."""

    version: str
    prices: tuple[Price, ...]

    def find(self, target: str, model: str) -> Price | None:
        """Return the price of a model at a target, under both names; `None` if there is none."""
        found = None
        for price in self.prices:
            if price.target == target and price.model in (model, ANY_MODEL):
                found = price
                if price.model == model:
                    break
        if found is None:
            return None
        return Price(target, model, found.input_nanousd, found.output_nanousd)


@dataclass(frozen=True, slots=True)
class Offer:
    """A model at a target that may run the job, with its price."""

    price: Price
    context_tokens: int
    default_max_tokens: int
    template_overhead_tokens: int
    message_overhead_tokens: int


@dataclass(frozen=True, slots=True)
class Terms:
    """What was agreed at admission. Prices may change later; these don't.

    Attributes:
        tokens_input_bound: No prompt of this text has more tokens.
        max_tokens: What the executor is told; 0 where no tokens are made.
        hold_nanousd: The worst case.
        price_version: The price book that all of this came from.
        prices: Every price at which the job may be charged.
    """

    tokens_input_bound: int
    max_tokens: int
    hold_nanousd: int
    price_version: str
    prices: tuple[Price, ...]

    def price_of(self, target: str, model: str) -> Price:
        """Return the price for what ran; the dearest one where that was not foreseen."""
        for price in self.prices:
            if price.target == target and price.model == model:
                return price
        same_target = [price for price in self.prices if price.target == target]
        return max(
            same_target or self.prices, key=lambda price: price.cost(Usage(1_000_000, 1_000_000))
        )

    def charge(self, target: str, model: str, usage: Usage) -> int:
        """Return what the tenant pays: the actual cost, and never more than was held."""
        return min(self.price_of(target, model).cost(usage), self.hold_nanousd)

    def worst_cost(self, target: str, model: str) -> int:
        """Return what this target could have cost us."""
        worst = Usage(self.tokens_input_bound, self.max_tokens)
        return min(self.price_of(target, model).cost(worst), self.hold_nanousd)


def terms_for(
    prompt_bytes: int,
    messages: int,
    max_tokens: int,
    offers: Iterable[Offer],
    price_version: str,
    *,
    inputs: int = 0,
    has_output: bool = True,
) -> Terms:
    """Return the terms under which any of the offers may run the job.

    Args:
        prompt_bytes: UTF-8 bytes of all contents and roles.
        messages: How many messages there are.
        max_tokens: As requested; 0 takes the largest default among the offers.
        offers: At least one.
        price_version: The price book of the offers.
        inputs: How many bare texts there are in place of messages.
        has_output: Whether tokens are made, or the prompt is only read.
    """
    offers = tuple(offers)
    allowed = _allowed_output(max_tokens, offers) if has_output else 0
    if inputs:
        bounds = [_bare_bound(prompt_bytes, inputs, offer) for offer in offers]
    else:
        bounds = [_input_bound(prompt_bytes, messages, offer) for offer in offers]
    worst = max(
        offer.price.cost(_worst_usage(bound, allowed, offer) if allowed else Usage(bound, 0))
        for bound, offer in zip(bounds, offers, strict=True)
    )
    return Terms(
        tokens_input_bound=max(bounds),
        max_tokens=allowed,
        # A hold is never of nothing, so that even free work has its ledger entry.
        hold_nanousd=max(1, worst),
        price_version=price_version,
        prices=tuple(dict.fromkeys(offer.price for offer in offers)),
    )


def _allowed_output(max_tokens: int, offers: tuple[Offer, ...]) -> int:
    allowed = max_tokens or max(offer.default_max_tokens for offer in offers)
    return max(1, min(allowed, max(offer.context_tokens for offer in offers)))


def _bare_bound(prompt_bytes: int, inputs: int, offer: Offer) -> int:
    """Bound the tokens of texts that go without a template, each in a context of its own."""
    bound = prompt_bytes + inputs * INPUT_OVERHEAD_TOKENS
    return min(bound, inputs * offer.context_tokens)


def _input_bound(prompt_bytes: int, messages: int, offer: Offer) -> int:
    """Bound the prompt's tokens. Whether it is too long for the model only the worker knows."""
    bound = prompt_bytes + offer.template_overhead_tokens + messages * offer.message_overhead_tokens
    return min(bound, offer.context_tokens)


def _worst_usage(bound: int, max_tokens: int, offer: Offer) -> Usage:
    """Return the dearest use of a context that holds prompt and answer together."""
    answer = min(max_tokens, offer.context_tokens)
    over = max(0, bound + answer - offer.context_tokens)
    if offer.price.output_nanousd >= offer.price.input_nanousd:
        return Usage(bound - over, answer)
    return Usage(bound, answer - over)


def judge_usage(
    reported: Usage | None, terms: Terms, content_bytes: int, tokens_counted: int
) -> tuple[Usage, UsageSource]:
    """Return the usage to charge, and who counted it.

    A reported zero is a zero. A missing, negative or absurd report gives way to our own count.
    """
    if reported is not None and _is_plausible(reported, terms):
        return reported, UsageSource.REPORTED
    return counted_usage(terms, content_bytes, tokens_counted), UsageSource.COUNTED


def counted_usage(terms: Terms, content_bytes: int, tokens_counted: int) -> Usage:
    """Return our own count: the tokens that arrived, and the prompt estimated by its size.

    Nothing arrived, nothing counted: the prompt is charged with its first token. Where no tokens
    are made, it is charged when all is done.
    """
    if not terms.max_tokens:
        tokens_counted = 0
    elif tokens_counted <= 0:
        return Usage(0, 0)
    return Usage(prompt_usage(terms, content_bytes).tokens_input, tokens_counted)


def prompt_usage(terms: Terms, content_bytes: int) -> Usage:
    """Return what reading the prompt alone comes to, estimated by its size."""
    estimate = -(-content_bytes // BYTES_PER_COUNTED_TOKEN)
    return Usage(min(estimate, terms.tokens_input_bound), 0)


def _is_plausible(usage: Usage, terms: Terms) -> bool:
    return (
        0 <= usage.tokens_input <= _limit(terms.tokens_input_bound)
        and 0 <= usage.tokens_output <= (_limit(terms.max_tokens) if terms.max_tokens else 0)
        and 0 <= usage.tokens_input_cached <= usage.tokens_input
    )


def _limit(tokens: int) -> int:
    return ABSURD_FACTOR * tokens + ABSURD_SLACK_TOKENS
