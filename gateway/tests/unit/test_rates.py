"""The limiter that counts in this process."""

from gateway.adapters.local_rates import LocalRates
from gateway.domain.rate import RateLimit, Verdict
from service_kit.testing.clock import FixedClock

LIMIT = RateLimit("caller", 3)


async def test_window_moves():
    """Three calls in any minute; the oldest one makes room when it is a minute old."""
    clock = FixedClock()
    rates = LocalRates(clock)
    allowed = []
    for seconds in (0, 20, 20, 10, 11):
        clock.advance(seconds)
        allowed.append((await rates.hit(LIMIT, "a")).allowed)

    assert allowed == [True, True, True, False, True]


async def test_refusal_says_when():
    """A refused caller learns when the next call may succeed."""
    clock = FixedClock()
    rates = LocalRates(clock)
    for _ in range(3):
        await rates.hit(LIMIT, "a")
    clock.advance(45.5)

    verdict = await rates.hit(LIMIT, "a")

    assert verdict == Verdict(False, 0, 14.5)
    assert verdict.retry_seconds == 15
    assert verdict.header(LIMIT) == '"caller";r=0;t=15'
    assert LIMIT.policy == '"caller";q=3;w=60'


async def test_identities_and_limits_are_apart():
    """One caller's calls are no other's, and no other limit's."""
    rates = LocalRates(FixedClock())
    for _ in range(3):
        await rates.hit(LIMIT, "a")

    assert (await rates.hit(LIMIT, "b")).allowed
    assert (await rates.hit(RateLimit("address", 3), "a")).allowed


async def test_memory_is_bounded():
    """A million invented identities leave no more behind than the bound."""
    rates = LocalRates(FixedClock(), max_identities=10)
    for number in range(1000):
        await rates.hit(LIMIT, str(number))

    assert len(rates._calls) == 10


async def test_calls_allowed_elsewhere_count():
    """What Redis allowed is known here when Redis goes away."""
    rates = LocalRates(FixedClock())
    for _ in range(5):
        rates.note(LIMIT, "a")

    assert not (await rates.hit(LIMIT, "a")).allowed
