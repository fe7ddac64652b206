"""The price book at hand."""

import pytest

from compute_router.domain.prices import PriceBook
from compute_router.usecases.price_cache import PriceCache
from service_kit.errors import Unavailable


class Source:
    def __init__(self) -> None:
        self.times = 0
        self.away = False

    async def get_price_book(self) -> PriceBook:
        if self.away:
            raise Unavailable("cost-service")
        self.times += 1
        return PriceBook(str(self.times), {})


async def test_book_is_fetched_when_it_is_old(clock):
    """Once at start, and then when its time is over."""
    source = Source()
    cache = PriceCache(source, clock, max_age_seconds=30)
    assert cache.current is None

    await cache.refresh()
    await cache.refresh()
    assert cache.current.version == "1"

    clock.advance(30)
    await cache.refresh()
    assert cache.current.version == "2"


async def test_old_book_stays_while_cost_service_is_away(clock):
    """An old price is better than none."""
    source = Source()
    cache = PriceCache(source, clock, max_age_seconds=30)
    await cache.refresh()
    clock.advance(30)
    source.away = True

    with pytest.raises(Unavailable):
        await cache.refresh()

    assert cache.current.version == "1"
