"""What every breaker keeps: in this process, shared through Redis, and while Redis is away."""

import asyncio
import time
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from compute_router.adapters.redis_breaker import PREFIX, RedisBreaker
from compute_router.domain.breaker import BreakerRules, BreakerState, Outcome, Permit
from compute_router.usecases.local_breaker import LocalBreaker
from service_kit.clock import SystemClock
from service_kit.redis_client import open_redis

# Times are real, so they are short; failures count for long, or a slow machine forgets them.
RULES = BreakerRules(failures=3, window_seconds=30, open_seconds=0.25, probe_seconds=30)


@pytest.fixture
async def redis(redis_url):
    client = open_redis(redis_url, timeout_seconds=2)
    yield client
    await client.aclose()


@pytest.fixture
async def absent_redis(unused_port):
    client = open_redis(f"redis://:password@127.0.0.1:{unused_port}/0")
    yield client
    await client.aclose()


@pytest.fixture(params=["local", "redis", "redis away"])
def make(request):
    """A callable: rules -> a breaker."""
    if request.param == "local":
        return lambda rules=RULES: LocalBreaker(rules, SystemClock())
    redis = request.getfixturevalue("redis" if request.param == "redis" else "absent_redis")
    return lambda rules=RULES: RedisBreaker(redis, "yotta", rules, SystemClock())


async def fail(breaker, times: int = 1) -> None:
    for _ in range(times):
        await breaker.record(await breaker.admit(), Outcome.SICK, None)


async def probe_of(breaker, eventually) -> Permit:
    """Open the breaker, and return the permit of its first probe."""
    await fail(breaker, 3)
    found = []

    async def is_admitted() -> bool:
        found.append(await breaker.admit())
        return found[-1] is not None

    await eventually(is_admitted, seconds=5)
    assert found[-1].probe
    return found[-1]


async def test_failures_open_it(make):
    """One after the other, and not one call too late."""
    breaker = make()
    await fail(breaker, 2)
    assert breaker.view().lets_through

    await fail(breaker)

    assert breaker.view().state is BreakerState.OPEN
    assert 0 < breaker.view().seconds_left <= 0.25
    assert await breaker.admit() is None


async def test_failures_count_for_the_window_alone(make, eventually):
    """Old ones are forgotten."""
    breaker = make(BreakerRules(failures=2, window_seconds=0.05, open_seconds=30))
    for _ in range(3):
        await fail(breaker)
        over = time.monotonic() + 0.06
        await eventually(lambda over=over: time.monotonic() > over)

    assert breaker.view().state is BreakerState.CLOSED


async def test_one_probe_at_a_time(make, eventually):
    """Of many that want to try, one may."""
    breaker = make()
    await probe_of(breaker, eventually)

    permits = await asyncio.gather(*(breaker.admit() for _ in range(20)))

    assert permits == [None] * 20
    assert breaker.view().state is BreakerState.HALF_OPEN
    assert not breaker.view().lets_through


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Outcome.WELL, BreakerState.CLOSED),
        (Outcome.SICK, BreakerState.OPEN),
        (Outcome.UNKNOWN, BreakerState.HALF_OPEN),
    ],
)
async def test_probe_decides(make, eventually, outcome, state):
    """Closed, open again, or the next one may try."""
    breaker = make()
    permit = await probe_of(breaker, eventually)

    await breaker.record(permit, outcome, None)

    assert breaker.view().state is state
    assert breaker.view().lets_through is (state is not BreakerState.OPEN)
    if state is BreakerState.CLOSED:
        await fail(breaker, 2)
        assert breaker.view().lets_through, "old failures are forgiven"


async def test_lost_probe_is_given_up(make, eventually):
    """One of which nothing is heard holds nobody up for ever; its late word changes nothing."""
    breaker = make(BreakerRules(failures=3, open_seconds=0.05, probe_seconds=0.1))
    lost = await probe_of(breaker, eventually)
    second: list[Permit | None] = []

    async def is_admitted() -> bool:
        second.append(await breaker.admit())
        return second[-1] is not None

    await eventually(is_admitted, seconds=5)
    assert second[-1].probe not in ("", lost.probe)
    await breaker.record(lost, Outcome.WELL, None)

    assert breaker.view().state is BreakerState.HALF_OPEN


async def test_late_word_of_a_call_from_before_changes_nothing(make):
    """What was in flight when it opened neither closes it nor keeps it open for longer."""
    breaker = make(BreakerRules(failures=3, open_seconds=30))
    in_flight = [await breaker.admit() for _ in range(2)]
    await fail(breaker, 3)
    before = breaker.view().seconds_left

    for permit, outcome in zip(in_flight, (Outcome.WELL, Outcome.SICK), strict=True):
        await breaker.record(permit, outcome, None)

    assert breaker.view().state is BreakerState.OPEN
    assert breaker.view().seconds_left <= before


async def test_wish_to_wait(make, eventually):
    """Nothing passes before its time; a shorter wish does not shorten it."""
    breaker = make()
    for seconds in (0.2, 0.01):
        await breaker.record(Permit(), Outcome.WELL, timedelta(seconds=seconds))

    assert await breaker.admit() is None
    view = breaker.view()
    assert (view.state, view.asked_to_wait) == (BreakerState.CLOSED, True)
    assert 0.05 < view.seconds_left <= 0.2

    async def is_admitted() -> bool:
        return await breaker.admit() is not None

    await eventually(is_admitted, seconds=5)


async def test_routers_share_it(redis, eventually):
    """Failures of all count together, and all know that it is open, by their next look."""
    one, two = (RedisBreaker(redis, "yotta", RULES, SystemClock()) for _ in range(2))
    await fail(one, 2)
    await fail(two)

    assert await one.admit() is None
    await one.read()
    assert one.view().state is two.view().state is BreakerState.OPEN


async def test_probes_of_all_routers_are_one(redis, eventually):
    """However many routers ask at once."""
    rules = BreakerRules(failures=3, open_seconds=0.05, probe_seconds=30)
    breakers = [RedisBreaker(redis, "yotta", rules, SystemClock()) for _ in range(3)]
    await fail(breakers[0], 3)

    async def permits() -> int:
        found = await asyncio.gather(*(b.admit() for b in breakers for _ in range(10)))
        return sum(permit is not None for permit in found)

    await eventually(permits, seconds=5)
    assert await permits() == 0


async def test_every_key_expires(redis):
    """Nothing is left of a provider that nobody uses any more."""
    breaker = RedisBreaker(redis, "yotta", BreakerRules(open_seconds=100), SystemClock())
    await fail(breaker, 5)
    await breaker.record(Permit(), Outcome.WELL, timedelta(seconds=500))

    assert 500_000 < await redis.pttl(PREFIX + "yotta") <= 500_000 + 3_600_000


async def test_last_word_of_redis_stays(redis, absent_redis, monkeypatch):
    """Redis goes away while it is open: it stays open here, for as long as it was to be."""
    breaker = RedisBreaker(redis, "yotta", BreakerRules(open_seconds=30), SystemClock())
    await fail(breaker, 5)
    monkeypatch.setattr(breaker._script, "registered_client", absent_redis)

    with capture_logs() as logs:
        assert await breaker.admit() is None
    assert [entry["event"] for entry in logs] == ["breaker.redis_away"]
    assert breaker.view().state is BreakerState.OPEN


async def test_redis_that_is_back_has_the_word_again(redis, absent_redis, monkeypatch):
    """What was counted here meanwhile is forgotten: all routers know the same again."""
    breaker = RedisBreaker(redis, "yotta", RULES, SystemClock())
    with monkeypatch.context() as patched:
        patched.setattr(breaker._script, "registered_client", absent_redis)
        await fail(breaker, 3)
        assert breaker.view().state is BreakerState.OPEN

    await breaker.read()

    assert breaker.view().state is BreakerState.CLOSED
    await fail(breaker, 3)
    assert await RedisBreaker(redis, "yotta", RULES, SystemClock()).admit() is None


async def test_wiped_redis_closes_it(redis, redis_url):
    """What Redis knows counts while it is there; five more failures open it again."""
    breaker = RedisBreaker(redis, "yotta", BreakerRules(open_seconds=30), SystemClock())
    await fail(breaker, 5)
    await redis.delete(PREFIX + "yotta")

    assert await breaker.admit() == Permit()
    await fail(breaker, 5)
    assert await breaker.admit() is None


async def test_absent_redis_is_not_waited_for(absent_redis, monkeypatch):
    """Only the reader asks again; calls go on with what is known here."""
    breaker = RedisBreaker(absent_redis, "yotta", RULES, SystemClock())
    await breaker.read()

    def refuse(*args, **kwargs):
        raise AssertionError("Redis was asked")

    monkeypatch.setattr(breaker, "_script", refuse)

    await fail(breaker, 3)
    assert breaker.view().state is BreakerState.OPEN
