"""The price book as it was last seen."""

from __future__ import annotations

from dataclasses import dataclass

from compute_router.domain.prices import PriceBook
from compute_router.usecases.ports import PriceSource
from service_kit.clock import Clock


@dataclass(slots=True)
class PriceCache:
    """Keeps the last price book; estimates need no more than that."""

    source: PriceSource
    clock: Clock
    max_age_seconds: float
    current: PriceBook | None = None
    """`None` until cost-service was reached once."""
    _fetched_at: float = 0.0

    async def refresh(self) -> None:
        """Fetch the price book if there is none yet, or the one at hand is old.

        Raises:
            ServiceError: cost-service is away; the old book stays.
        """
        age_seconds = self.clock.monotonic() - self._fetched_at
        if self.current is not None and age_seconds < self.max_age_seconds:
            return
        self.current = await self.source.get_price_book()
        self._fetched_at = self.clock.monotonic()
