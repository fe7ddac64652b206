"""An API key is exchanged once for many requests."""

import asyncio
from datetime import timedelta

import pytest

from gateway.domain.credentials import ApiKey
from gateway.usecases.exchange_api_key import ExchangeApiKey
from gateway.usecases.ports import InternalToken
from service_kit.errors import Unauthenticated
from service_kit.testing.clock import FixedClock

KEY = ApiKey("sk-one")


class FakeExchange:
    def __init__(self, clock):
        self.clock = clock
        self.asked = []
        self.error = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def exchange_api_key(self, secret):
        self.asked.append(secret)
        await self.gate.wait()
        if self.error:
            raise self.error
        return InternalToken(f"token-{len(self.asked)}", self.clock.now() + timedelta(seconds=60))


@pytest.fixture
def clock():
    return FixedClock()


@pytest.fixture
def exchange(clock):
    return FakeExchange(clock)


async def test_token_is_kept_until_shortly_before_its_end(exchange, clock):
    """It is used for 50 of its 60 seconds, so that calls made with it have time."""
    use = ExchangeApiKey(exchange, clock)

    assert await use(KEY) == "token-1"
    clock.advance(49)
    assert await use(KEY) == "token-1"
    clock.advance(2)
    assert await use(KEY) == "token-2"


async def test_requests_at_once_share_one_exchange(exchange, clock):
    """A hundred requests of a program that starts are one question."""
    use = ExchangeApiKey(exchange, clock)

    tokens = await asyncio.gather(*(use(KEY) for _ in range(100)))

    assert set(tokens) == {"token-1"}
    assert len(exchange.asked) == 1


async def test_one_that_leaves_takes_nobody_along(exchange, clock):
    """A request that is cancelled does not cancel the exchange for the others."""
    use = ExchangeApiKey(exchange, clock)
    exchange.gate.clear()
    first = asyncio.create_task(use(KEY))
    second = asyncio.create_task(use(KEY))
    await asyncio.sleep(0)

    first.cancel()
    await asyncio.sleep(0)
    exchange.gate.set()

    assert await second == "token-1"


async def test_forgotten_key_is_exchanged_anew(exchange, clock):
    """After a denial the next use asks auth-service."""
    use = ExchangeApiKey(exchange, clock)
    await use(KEY)

    use.forget(KEY)

    assert await use(KEY) == "token-2"


async def test_refusal_is_not_kept(exchange, clock):
    """A key that was refused may be good the next time."""
    use = ExchangeApiKey(exchange, clock)
    exchange.error = Unauthenticated("API_KEY_REFUSED")
    with pytest.raises(Unauthenticated):
        await use(KEY)

    exchange.error = None

    assert await use(KEY) == "token-2"


async def test_keys_do_not_share_tokens(exchange, clock):
    """Each key has its own."""
    use = ExchangeApiKey(exchange, clock)

    assert await use(KEY) != await use(ApiKey("sk-two"))


async def test_memory_is_bounded(exchange, clock, monkeypatch):
    """The key used longest ago makes room."""
    monkeypatch.setattr("gateway.usecases.exchange_api_key.MAX_KEPT", 2)
    use = ExchangeApiKey(exchange, clock)
    for secret in ("sk-1", "sk-2", "sk-3", "sk-1"):
        await use(ApiKey(secret))

    assert exchange.asked == ["sk-1", "sk-2", "sk-3", "sk-1"]
