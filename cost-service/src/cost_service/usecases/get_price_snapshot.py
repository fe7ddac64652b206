"""Hand out the price book."""

from __future__ import annotations

from dataclasses import dataclass

from cost_service.domain.prices import PriceSnapshot
from cost_service.usecases.ports import UnitOfWorkFactory


@dataclass(frozen=True, slots=True)
class GetPriceSnapshot:
    """Returns the prices that are valid now."""

    unit_of_work: UnitOfWorkFactory

    async def __call__(self) -> PriceSnapshot:
        async with self.unit_of_work() as work:
            return await work.prices.current()
