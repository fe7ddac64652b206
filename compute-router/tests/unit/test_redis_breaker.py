"""A breaker whose Redis answers with errors, or not before the caller leaves."""

import asyncio

import pytest
from redis.exceptions import AuthenticationError, NoPermissionError, OutOfMemoryError, ResponseError
from structlog.testing import capture_logs

from compute_router.adapters.redis_breaker import RedisBreaker
from compute_router.domain.breaker import BreakerRules, BreakerState, Outcome, Permit

CLOSED = [1, 0, 0, "", 0, 0]


class FakeRedis:
    """Answers every script as told; an error is raised."""

    def __init__(self) -> None:
        self.answers = {}
        self.asked = []
        self.was_asked = asyncio.Event()

    def register_script(self, _):
        return self

    async def __call__(self, *, keys, args):
        verb, probe, outcome = args[:3]
        self.asked.append((verb, probe, outcome))
        self.was_asked.set()
        answer = self.answers.get(verb, CLOSED)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, asyncio.Event):
            await answer.wait()
        return answer


@pytest.fixture
def redis():
    return FakeRedis()


@pytest.fixture
def breaker(redis, clock):
    return RedisBreaker(redis, "yotta", BreakerRules(failures=2), clock)


@pytest.mark.parametrize(
    "error",
    [
        OutOfMemoryError("OOM command not allowed"),
        ResponseError("MISCONF unable to persist"),
        NoPermissionError("NOPERM"),
        AuthenticationError("WRONGPASS"),
    ],
)
async def test_error_reply_leaves_the_local_breaker(redis, breaker, error):
    """Redis refuses: calls and the reading loop go on, and failures count here."""
    redis.answers = dict.fromkeys(("admit", "record", "read", "return"), error)

    with capture_logs() as logs:
        for _ in range(2):
            await breaker.record(await breaker.admit(), Outcome.SICK, None)
            await breaker.read()

    assert breaker.view().state is BreakerState.OPEN
    assert [entry["reason"] for entry in logs] == [type(error).__name__]


async def test_redis_that_can_only_be_read_does_not_close_it(redis, breaker):
    """A Redis that is full answers reads: what is known here stays until it can be written to."""
    redis.answers = dict.fromkeys(("record", "return"), OutOfMemoryError("OOM"))
    for _ in range(2):
        await breaker.record(Permit(), Outcome.SICK, None)

    await breaker.read()
    assert breaker.view().state is BreakerState.OPEN

    redis.answers = {}
    await breaker.read()
    assert breaker.view().state is BreakerState.CLOSED


async def test_caller_that_leaves_gives_the_probe_back(redis, breaker):
    """Redis may have granted it before the caller was cancelled."""
    redis.answers = {"admit": asyncio.Event()}
    asking = asyncio.create_task(breaker.admit())
    await redis.was_asked.wait()

    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking

    (_, probe, _), given_back = redis.asked
    assert probe
    assert given_back == ("record", probe, Outcome.UNKNOWN)
