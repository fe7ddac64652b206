"""Show what one version of the price book says."""

from __future__ import annotations

from dataclasses import dataclass

from cost_service.domain.errors import PriceVersionNotFound
from cost_service.domain.names import is_id
from cost_service.domain.prices import PriceVersion
from cost_service.usecases.ports import UnitOfWorkFactory


@dataclass(frozen=True, slots=True)
class GetPriceVersion:
    """Returns a version with its prices."""

    unit_of_work: UnitOfWorkFactory

    async def __call__(self, price_version: str) -> PriceVersion:
        """Return the version; "" is the one that is valid now.

        Raises:
            PriceVersionNotFound: There is none of this name.
        """
        if price_version and not is_id(price_version):
            raise PriceVersionNotFound(price_version[:64])
        async with self.unit_of_work() as work:
            version = await work.prices.find(price_version)
        if version is None:
            raise PriceVersionNotFound(price_version)
        return version
