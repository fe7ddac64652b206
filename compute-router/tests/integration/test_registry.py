"""Workers come, go, and come back: with Redis, without it, and after it was wiped."""

import time

import pytest
from redis.asyncio import Redis
from weir.router.v1 import (
    router_service_pb2,
    router_service_pb2_grpc,
    worker_registry_service_pb2,
    worker_registry_service_pb2_grpc,
)

from service_kit.errors import ErrorCode, ServiceError
from service_kit.grpc_errors import rpc_errors


async def local_target(router):
    async with router.channel_as("gateway") as channel:
        stub = router_service_pb2_grpc.RouterServiceStub(channel)
        response = await stub.ListTargets(router_service_pb2.ListTargetsRequest())
    (target,) = response.targets
    return target


def a_worker(worker_id: str = "w1", **changes) -> worker_registry_service_pb2.Worker:
    model = router_service_pb2.Model(model="small", context_tokens=100, default_max_tokens=10)
    values = {"address": "127.0.0.1:9", "models": [model], "slots_total": 2, **changes}
    return worker_registry_service_pb2.Worker(worker_id=worker_id, **values)


@pytest.fixture
async def registry(router):
    """The registry as the worker w1 calls it."""
    async with router.channel_as("gpu-worker/w1") as channel:
        yield worker_registry_service_pb2_grpc.WorkerRegistryServiceStub(channel)


async def register(registry, worker):
    with rpc_errors():
        return await registry.RegisterWorker(
            worker_registry_service_pb2.RegisterWorkerRequest(worker=worker)
        )


async def test_registered_worker_is_listed(router, start_worker):
    """A worker brings its model and its slots to the local target."""
    await start_worker(model_name="small", engine_slots=3, context_tokens=512)

    target = await local_target(router)

    assert target.available
    assert target.target == "local"
    assert not target.paid
    assert target.slots_total == 3
    assert [(m.model, m.context_tokens) for m in target.models] == [("small", 512)]


async def test_registration_says_how_long_it_holds(registry):
    """The lease comes from the router's settings."""
    assert (await register(registry, a_worker())).lease_seconds == 1


async def test_foreign_worker_id_is_refused(router, registry):
    """A worker can't announce another one's name, nor take it out."""
    with pytest.raises(ServiceError) as caught:
        await register(registry, a_worker("w2"))
    assert caught.value.code is ErrorCode.PERMISSION_DENIED
    assert caught.value.reason == "FOREIGN_WORKER_ID"

    with pytest.raises(ServiceError) as caught, rpc_errors():
        await registry.DeregisterWorker(
            worker_registry_service_pb2.DeregisterWorkerRequest(worker_id="w2")
        )
    assert caught.value.reason == "FOREIGN_WORKER_ID"
    assert not (await local_target(router)).available


@pytest.mark.parametrize(
    "changes",
    [
        {"address": "nowhere"},
        {"address": "host:0"},
        {"address": "unix:/tmp/x:1"},
        {"slots_total": 0},
        {"slots_total": -1},
        {"models": []},
        {"models": [router_service_pb2.Model(model="", context_tokens=1)]},
    ],
)
async def test_impossible_worker_is_refused(registry, changes):
    """What can't be a worker is not kept."""
    with pytest.raises(ServiceError) as caught:
        await register(registry, a_worker(**changes))

    assert caught.value.code is ErrorCode.INVALID_ARGUMENT


async def test_silent_worker_is_forgotten(router, registry, eventually):
    """A registration ends with its lease."""
    await register(registry, a_worker())
    assert (await local_target(router)).available

    async def is_gone() -> bool:
        return not (await local_target(router)).available

    await eventually(is_gone, seconds=3)


async def test_deregistered_worker_gets_no_work(router, registry):
    """A worker that leaves is out at once, and may say so twice."""
    await register(registry, a_worker())

    for _ in range(2):
        await registry.DeregisterWorker(
            worker_registry_service_pb2.DeregisterWorkerRequest(worker_id="w1")
        )

    assert not (await local_target(router)).available


async def test_other_routers_learn_of_a_worker(open_router, router, start_worker, eventually):
    """A worker registers with one router; all of them serve it."""
    other = await open_router()
    await start_worker(model_name="small")

    async def is_known() -> bool:
        return (await local_target(other)).available

    await eventually(is_known, seconds=2)


async def test_wiped_redis_changes_nothing(
    open_router, router, start_worker, execute, redis_url, eventually
):
    """After FLUSHALL the router serves on, and a new router knows the worker within a beat."""
    await start_worker()
    async with Redis.from_url(redis_url, protocol=2) as redis:
        await redis.flushall()
    started = time.monotonic()

    events = await (await execute()).rest()

    assert events[-1].WhichOneof("event") == "finished"
    newcomer = await open_router()

    async def is_known() -> bool:
        return (await local_target(newcomer)).available

    await eventually(is_known, seconds=3)
    assert time.monotonic() - started < 3


async def test_absent_redis_changes_nothing(
    open_router, start_worker, execution_on, eventually, redis_server, router
):
    """While Redis is down workers stay, and go on being served past their lease."""
    await start_worker()
    redis_server.stop()
    try:

        async def is_noticed() -> bool:
            return "router_registry_away 1.0" in await router.metrics()

        await eventually(is_noticed)
        deadline = time.monotonic() + 2.5
        async with router.channel_as("job-service") as channel:
            while time.monotonic() < deadline:
                events = await (await execution_on(channel).start()).rest()
                assert events[-1].WhichOneof("event") == "finished"
    finally:
        redis_server.start()


async def test_restarted_worker_is_back(router, start_worker_process, execute, eventually):
    """A worker that was killed and started again at another port serves again."""
    first = await start_worker_process()
    first.kill()
    await start_worker_process()

    async def is_served() -> bool:
        try:
            events = await (await execute()).rest()
        except ServiceError:
            return False
        return events[-1].WhichOneof("event") == "finished"

    await eventually(is_served, seconds=5)
