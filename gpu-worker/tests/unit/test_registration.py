"""Announcing: what is said, when, and how leaving works."""

import asyncio
from dataclasses import replace

import pytest
from weir.worker.v1 import inference_service_pb2 as worker_pb

from gpu_worker.adapters.router_registry_client import worker_to_proto
from gpu_worker.domain.prompt import Operation
from gpu_worker.entrypoints.registration_loop import RegistrationLoop
from gpu_worker.usecases.announce_worker import AnnounceWorker
from gpu_worker.usecases.leave_service import LeaveService
from service_kit.errors import Unavailable


@pytest.fixture
def announce(registry, generate):
    return AnnounceWorker(registry, generate, address="host:1", device="cpu")


async def test_announcement_says_all(announce, registry, generate):
    """Routers get address, model, load and pace."""
    with generate.slots.taken():
        await announce()

    (said,) = registry.announced
    worker = worker_to_proto(said)
    assert (worker.worker_id, worker.address, worker.device) == ("w1", "host:1", "cpu")
    assert (worker.slots_total, worker.slots_busy, worker.draining) == (1, 1, False)
    (model,) = worker.models
    assert (model.model, model.context_tokens, model.default_max_tokens) == ("small", 100, 10)
    assert (model.template_overhead_tokens, model.message_overhead_tokens) == (20, 5)
    assert model.model_digest == "d1"
    assert model.operations == [worker_pb.OPERATION_CHAT, worker_pb.OPERATION_EMBEDDING]


async def test_every_operation_is_announced(announce, registry, generate):
    """None gets lost on the way to the router."""
    generate.model = replace(generate.model, operations=tuple(Operation))
    await announce()

    (model,) = worker_to_proto(registry.announced[0]).models
    assert [*model.operations] == [value for value in worker_pb.Operation.values() if value]


async def test_renewal_at_a_third_of_the_lease(announce):
    """Two renewals may be lost before the lease is."""
    known = []
    loop = RegistrationLoop(announce, known.append)

    assert await loop.beat() == 3
    assert known == [True]


async def test_absent_router_is_tried_again_soon(announce, registry):
    """Pauses grow, stay short, and a success ends them."""
    known = []
    loop = RegistrationLoop(announce, known.append)
    registry.failures = [Unavailable("compute-router") for _ in range(8)]

    pauses = [await loop.beat() for _ in range(8)]

    assert pauses[0] < 1
    assert all(pause <= 2.4 for pause in pauses)
    assert await loop.beat() == 3
    assert known == [False] * 8 + [True]


async def test_leaving_waits_for_what_runs(announce, registry, generate):
    """Nothing new is taken, the router is told, the running prompt gets its time."""
    leave = LeaveService(announce, drain_seconds=5)
    with generate.slots.taken():
        leaving = asyncio.create_task(leave())
        await asyncio.sleep(0.01)
        assert generate.slots.draining
        assert registry.left == ["w1"]
        assert not leaving.done()
    await asyncio.wait_for(leaving, 1)


async def test_leaving_has_an_end(announce, generate):
    """A prompt that takes longer than that is left to its fate."""
    with generate.slots.taken():
        await asyncio.wait_for(LeaveService(announce, drain_seconds=0.01)(), 1)


async def test_leaving_without_router(announce, registry):
    """A router that is away does not keep a worker."""
    registry.failures = [Unavailable("compute-router")]

    await asyncio.wait_for(LeaveService(announce, drain_seconds=5)(), 1)
