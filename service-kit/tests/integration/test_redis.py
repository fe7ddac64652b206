"""Redis: short waits, one error, and no answer to the wrong question (X-R14, X-Z8)."""

import asyncio
import os
import random
import time

import pytest

from service_kit.errors import ErrorCode
from service_kit.redis_client import RedisUnavailable, check_redis, open_redis, redis_errors

# 10 makes the 10,000 calls and more of the long run.
SCALE = int(os.environ.get("WEIR_TEST_SCALE", "1"))


@pytest.fixture
async def open_(redis_url):
    """Open clients that are closed after the test."""
    opened = []

    def make(**options):
        # Two cores that run other tests too may take longer than the default.
        client = open_redis(redis_url, connect_timeout_seconds=5, **options)
        opened.append(client)
        return client

    yield make
    for client in opened:
        await client.aclose()


async def test_values_are_text(open_):
    """What was written comes back as `str`."""
    client = open_()
    await client.set("name", "weir")

    assert await client.get("name") == "weir"
    await check_redis(client)


async def test_many_calls_share_few_connections(open_):
    """500 calls at once wait for ten connections instead of failing."""
    client = open_(max_connections=10, timeout_seconds=5)
    answers = await asyncio.gather(*[client.incr("counter") for _ in range(500)])

    assert sorted(answers) == list(range(1, 501))
    assert int((await client.info("clients"))["connected_clients"]) <= 12


async def test_slow_answer_is_unavailable_in_time(open_):
    """X-R14: a command that takes longer than allowed ends as unavailable."""
    client = open_(timeout_seconds=0.1)
    await client.ping()
    started = time.monotonic()
    with pytest.raises(RedisUnavailable) as caught, redis_errors():
        await client.blpop(["empty"], 5)

    assert time.monotonic() - started < 0.5
    assert caught.value.code is ErrorCode.UNAVAILABLE


async def test_full_pool_is_unavailable_in_time(open_):
    """Waiting for a connection has the same limit as waiting for an answer."""
    client = open_(max_connections=1, timeout_seconds=0.2)
    taken = await client.connection_pool.get_connection()
    started = time.monotonic()
    with pytest.raises(RedisUnavailable), redis_errors():
        await client.ping()
    assert time.monotonic() - started < 1
    await client.connection_pool.release(taken)
    assert await client.ping()


async def test_absent_redis_is_unavailable():
    """Nobody listening is the same error, at once."""
    client = open_redis("redis://127.0.0.1:1/0")
    started = time.monotonic()
    with pytest.raises(RedisUnavailable):
        await check_redis(client)

    assert time.monotonic() - started < 1
    await client.aclose()


async def test_restarted_redis_is_found_again(redis_server, open_):
    """A client goes on by itself after Redis was killed and started again."""
    client = open_(max_connections=3)
    await asyncio.gather(*[client.ping() for _ in range(3)])
    await asyncio.to_thread(redis_server.stop)
    with pytest.raises(RedisUnavailable):
        await check_redis(client)
    await asyncio.to_thread(redis_server.start)
    async with asyncio.timeout(10):
        while True:
            try:
                await check_redis(client)
                break
            except RedisUnavailable:
                await asyncio.sleep(0.02)


async def test_mistakes_are_not_outages(open_):
    """A wrong command or a wrong password is a bug to see, not an outage to ride out."""
    from redis.exceptions import ResponseError

    client = open_()
    await client.set("text", "x")
    with pytest.raises(ResponseError), redis_errors():
        await client.incr("text")


@pytest.mark.parametrize("how", ["command", "pipeline", "script"])
async def test_cancelled_calls_never_answer_another(open_, how):
    """X-Z8: of many calls cancelled at any moment (seed 8), none leaves its answer."""
    dice = random.Random(8)
    client = open_(max_connections=8, timeout_seconds=5)
    script = client.register_script("return ARGV[1]")
    await client.script_load("return ARGV[1]")

    async def ask(number):
        if how == "command":
            assert await client.echo(f"{number}") == f"{number}"
            assert await client.echo(f"-{number}") == f"-{number}"
        elif how == "script":
            assert await script(args=[number]) == f"{number}"
        else:
            async with client.pipeline(transaction=True) as pipe:
                pipe.echo(f"{number}")
                pipe.echo(f"-{number}")
                assert await pipe.execute() == [f"{number}", f"-{number}"]

    cancelled = 0
    for wave in range(15 * SCALE):
        tasks = [asyncio.ensure_future(ask(wave * 100 + number)) for number in range(100)]
        for task in dice.sample(tasks, 70):
            asyncio.get_running_loop().call_later(dice.random() * 0.01, task.cancel)
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, asyncio.CancelledError):
                cancelled += 1
            elif result is not None:
                raise result

    assert cancelled > 100 * SCALE
    await asyncio.gather(*[ask(number) for number in range(100)])
    assert len(client.connection_pool._in_use_connections) == 0
