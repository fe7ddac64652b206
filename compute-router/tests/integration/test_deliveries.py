"""X-R16: what is delivered twice, or swapped, leaves what one delivery would."""

import pytest
from weir.router.v1 import worker_registry_service_pb2 as pb
from weir.router.v1 import worker_registry_service_pb2_grpc as pb_grpc

from .test_registry import a_worker

# What each RPC that changes something is asked. tests/contract/test_deliveries.py misses none.
REQUESTS = {
    "WorkerRegistryService.RegisterWorker": pb.RegisterWorkerRequest(worker=a_worker()),
    "WorkerRegistryService.DeregisterWorker": pb.DeregisterWorkerRequest(worker_id="w1"),
}


@pytest.fixture
async def deliver(router):
    """A callable: the name of an RPC -> its answer, as the worker w1 is given it."""
    async with router.channel_as("gpu-worker/w1") as channel:
        stub = pb_grpc.WorkerRegistryServiceStub(channel)

        async def call(rpc):
            return await getattr(stub, rpc.partition(".")[2])(REQUESTS[rpc])

        yield call


async def test_each_rpc_delivered_twice_changes_nothing_more(deliver, router):
    """One worker that came, or none any more."""
    for rpc in REQUESTS:
        answer = await deliver(rpc)
        once = await router.workers()
        assert await deliver(rpc) == answer, rpc
        assert await router.workers() == once, rpc
        assert [worker.worker_id for worker in once] == ["w1"] * ("Register" in rpc), rpc


async def test_registration_that_overtakes_the_farewell_ends_with_its_lease(
    deliver, router, eventually
):
    """Swapped: a worker that is gone is announced once more, and never renewed."""
    register, deregister = REQUESTS
    await deliver(deregister)
    await deliver(register)

    async def is_gone():
        return await router.workers() == []

    await eventually(is_gone, seconds=3)
