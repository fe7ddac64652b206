"""The shared registry in a real Redis."""

from datetime import timedelta

import pytest
from redis.asyncio import Redis

from compute_router.adapters.redis_workers import KEY, RedisWorkers
from compute_router.domain.target import Model
from compute_router.domain.worker import Worker
from service_kit.redis_client import RedisUnavailable, open_redis

LEASE = timedelta(seconds=10)


def a_worker(worker_id="w1", **changes) -> Worker:
    values = {"address": "10.0.0.1:9000", "models": (Model("m", 10, 5),), "slots_total": 1}
    return Worker(worker_id, **{**values, **changes})


@pytest.fixture
async def redis(redis_url):
    client = open_redis(redis_url, timeout_seconds=2)
    yield client
    await client.aclose()


@pytest.fixture
def store(redis: Redis) -> RedisWorkers:
    return RedisWorkers(redis)


async def test_worker_is_kept_for_its_lease(store, eventually):
    """What is left of the lease is known; then the worker is gone."""
    await store.save(a_worker(tokens_per_second=2.5), LEASE)
    await store.save(a_worker("w2"), timedelta(milliseconds=150))

    found = {stored.worker.worker_id: stored for stored in await store.list()}

    assert found["w1"].worker == a_worker(tokens_per_second=2.5)
    assert timedelta(seconds=9) < found["w1"].remaining <= LEASE

    async def only_the_first_is_left() -> bool:
        return [stored.worker.worker_id for stored in await store.list()] == ["w1"]

    await eventually(only_the_first_is_left, seconds=2)


async def test_renewal_replaces(store):
    """The last word of a worker counts."""
    await store.save(a_worker(slots_busy=0), LEASE)
    await store.save(a_worker(slots_busy=1), LEASE)

    (found,) = await store.list()
    assert found.worker.slots_busy == 1


async def test_removal_may_be_repeated(store):
    """Gone is gone."""
    await store.save(a_worker(), LEASE)
    for _ in range(2):
        await store.remove("w1")

    assert await store.list() == []


async def test_registry_without_workers_leaves_nothing_behind(store, redis, eventually):
    """The key itself has a lease, that of the worker that holds longest."""
    await store.save(a_worker("w1"), timedelta(milliseconds=400))
    await store.save(a_worker("w2"), timedelta(milliseconds=100))
    assert 100 < await redis.pttl(KEY) <= 400

    async def is_gone() -> bool:
        return not await redis.exists(KEY)

    await eventually(is_gone, seconds=2)


async def test_what_can_not_be_read_is_passed_over(store, redis):
    """Another release's entry hides no worker."""
    await store.save(a_worker(), LEASE)
    await redis.hset(KEY, mapping={"w2": "99999999999999 {}", "w3": "nonsense"})

    (found,) = await store.list()
    assert found.worker.worker_id == "w1"


async def test_absent_redis_is_said(unused_port):
    """One error, whatever the library calls it."""
    client = open_redis(f"redis://:password@127.0.0.1:{unused_port}/0")
    store = RedisWorkers(client)

    for call in (store.save(a_worker(), LEASE), store.remove("w1"), store.list()):
        with pytest.raises(RedisUnavailable):
            await call
    await client.aclose()
