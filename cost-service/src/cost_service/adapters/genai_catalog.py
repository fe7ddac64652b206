"""Prices that the `genai-prices` package knows: a start for a new version, to be reviewed.

The package is a tool of those who edit the price file (requirements/dev.txt), not of the service.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from cost_service.domain.prices import Price, nanousd_from_usd, require_price
from service_kit.errors import InvalidArgument

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

PACKAGE: Final = "genai-prices"


class NotInCatalog(Exception):
    """The package has no such provider or model. The message lists the providers it has."""


@dataclass(frozen=True, slots=True)
class CatalogPrices:
    """What was found, and which models were left out, with the reason."""

    source: str
    prices: tuple[Price, ...]
    left_out: tuple[str, ...]


def catalog_prices(
    provider_id: str, target: str, at: datetime, models: Collection[str] = ()
) -> CatalogPrices:
    """Return a provider's prices at a moment, as prices of one of our targets.

    Without `models` those of every model of the provider.

    Asks no network: the package carries its data. A model is left out where it has no plain price
    for text in and out, such as one that depends on the length of the prompt.

    Raises:
        NotInCatalog: The package does not know the provider, or one of the models.
        ModuleNotFoundError: The package is not installed.
    """
    provider = _provider(provider_id)
    unknown = set(models) - {model.id for model in provider.models}
    if unknown:
        raise NotInCatalog(f"{provider_id} has no model {', '.join(sorted(unknown))}")
    prices, left_out = [], []
    for model in provider.models:
        if models and model.id not in models:
            continue
        try:
            prices.append(_price(target, model, at))
        except InvalidArgument as error:
            left_out.append(f"{model.id}: {error.message}")
    return CatalogPrices(f"{PACKAGE} {version(PACKAGE)}", tuple(prices), tuple(left_out))


def _provider(provider_id: str) -> Provider:
    from genai_prices.data import providers

    for provider in providers:
        if provider.id == provider_id:
            return provider
    raise NotInCatalog(
        f"{PACKAGE} knows no provider {provider_id!r}; it knows "
        + ", ".join(sorted(provider.id for provider in providers))
    )


def _price(target: str, model: ModelInfo, at: datetime) -> Price:
    prices = vars(model.get_prices(at))
    price = Price(
        target,
        model.id,
        _nanousd(prices.get("input_mtok")),
        _nanousd(prices.get("output_mtok")),
    )
    require_price(price)
    return price


def _nanousd(amount: object) -> int:
    if amount is None:
        raise InvalidArgument("usd", "it has no price for text in, or for text out")
    if not isinstance(amount, Decimal):
        raise InvalidArgument("usd", "its price depends on the length of the prompt")
    return nanousd_from_usd(amount)
