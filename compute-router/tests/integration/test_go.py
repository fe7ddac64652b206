"""A paid target gets nothing before the caller has said go."""

import pytest

from service_kit.errors import ErrorCode, ServiceError


@pytest.fixture
def router_settings():
    return {"local_target_paid": True, "go_timeout_seconds": 0.5}


async def read_deltas(execution) -> None:
    """Read until the stream fails; anything but a delta is a failure of the test."""
    while True:
        await execution.next("delta")


async def test_go_lets_it_run(execute, start_worker):
    """Dispatching comes first; after Go the answer streams."""
    await start_worker(instant_tokens=3)
    execution = await execute("j1", attempt=2)
    await execution.next("decision")

    dispatching = await execution.next("dispatching")
    assert (dispatching.target, dispatching.client_task_id) == ("local", "j1-2-1")
    await execution.go(dispatching.client_task_id)

    assert (await execution.next("started")).worker_id == "w1"
    events = await execution.rest()
    assert events[-1].finished.usage.tokens_output == 3


async def test_nothing_runs_before_go(execute, start_worker):
    """While the caller hesitates the worker has nothing."""
    worker = await start_worker(instant_tokens=3)
    execution = await execute()
    await execution.next("decision")
    await execution.next("dispatching")

    assert await worker.busy() == 0
    released = await execution.next("released")
    assert released.reason == "GO_NOT_GIVEN"
    with pytest.raises(ServiceError) as caught:
        await execution.rest()
    assert (caught.value.code, caught.value.reason) == (ErrorCode.ABORTED, "GO_NOT_GIVEN")
    assert await worker.prompts() == 0


async def test_half_closed_stream_dispatches_nothing(execute, start_worker):
    """A caller that ends its side without Go gets its dispatch back."""
    worker = await start_worker()
    execution = await execute()
    await execution.next("decision")
    await execution.next("dispatching")

    await execution.call.done_writing()

    assert (await execution.next("released")).reason == "GO_NOT_GIVEN"
    with pytest.raises(ServiceError):
        await execution.rest()
    assert await worker.prompts() == 0


async def test_go_for_another_task_is_no_go(execute, start_worker):
    """Only the id that was dispatched counts."""
    worker = await start_worker()
    execution = await execute()
    await execution.next("decision")
    await execution.next("dispatching")

    await execution.go("j1-1-9")

    assert (await execution.next("released")).client_task_id == "j1-1-1"
    with pytest.raises(ServiceError):
        await execution.rest()
    assert await worker.prompts() == 0


async def test_cancelled_stream_dispatches_nothing(execute, start_worker, eventually, router):
    """A caller that vanishes before Go leaves nothing behind."""
    worker = await start_worker()
    execution = await execute()
    await execution.next("decision")
    await execution.next("dispatching")

    execution.call.cancel()

    async def is_counted() -> bool:
        # Whether the router hears of the end from its waiting or from its call is chance.
        told = await router.metrics()
        outcomes = ("released", "cancelled")
        return any(f'routing_executions_total{{outcome="{each}"' in told for each in outcomes)

    await eventually(is_counted)
    assert await worker.prompts() == 0


async def test_full_worker_releases_the_dispatch(execute, start_worker):
    """After Go a busy worker provably ran nothing: Released, then NO_CAPACITY."""
    await start_worker(engine_slots=1, instant_tokens=200, instant_token_delay_ms=50)
    first = await execute("j1")
    await first.next("decision")
    await first.go((await first.next("dispatching")).client_task_id)
    await first.next("started")

    second = await execute("j2")
    await second.next("decision")
    await second.go((await second.next("dispatching")).client_task_id)

    released = await second.next("released")
    assert (released.client_task_id, released.reason) == ("j2-1-1", "NO_CAPACITY")
    with pytest.raises(ServiceError) as caught:
        await second.rest()
    assert caught.value.reason == "NO_CAPACITY"


async def test_lost_worker_is_not_released(execute, start_worker_process):
    """A worker that had the prompt may have run it: no Released."""
    worker = await start_worker_process(instant_tokens=1000, instant_token_delay_ms=20)
    execution = await execute()
    await execution.next("decision")
    await execution.go((await execution.next("dispatching")).client_task_id)
    await execution.next("started")
    await execution.next("delta")

    worker.kill()

    with pytest.raises(ServiceError) as caught:
        await read_deltas(execution)
    assert caught.value.reason == "WORKER_LOST"
