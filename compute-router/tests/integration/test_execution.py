"""Execute against real workers: streams, cancels, falls back, and says what went wrong."""

import signal

import pytest
from weir.worker.v1 import inference_service_pb2 as worker_pb

from service_kit.errors import ErrorCode, ServiceError


async def test_answer_streams(execute, start_worker_process):
    """Decision, start, deltas and the end arrive in order, and the tokens add up."""
    await start_worker_process(instant_tokens=5, model_name="small")

    execution = await execute(text="one two three")

    decision = await execution.next("decision")
    assert (decision.target, decision.model) == ("local", "small")
    assert decision.reason == "complexity_below_threshold"
    started = await execution.next("started")
    assert (started.target, started.model, started.worker_id) == ("local", "small", "w1")
    *deltas, last = await execution.rest()
    assert "".join(d.delta.text for d in deltas) == "word0 word1 word2 word3 word4"
    assert last.finished.finish_reason == worker_pb.FINISH_REASON_STOP
    assert last.finished.usage.tokens_input == 3
    assert last.finished.usage.tokens_output == sum(d.delta.tokens for d in deltas) == 5


async def test_two_prompts_run_at_once(execute, start_worker):
    """Two slots hold two prompts; a third is told to come again."""
    worker = await start_worker(engine_slots=2, instant_tokens=200, instant_token_delay_ms=50)
    first, second = await execute("j1"), await execute("j2")
    for execution in (first, second):
        await execution.next("decision")
        await execution.next("started")
    assert await worker.busy() == 2

    third = await execute("j3")

    await third.next("decision")
    with pytest.raises(ServiceError) as caught:
        await third.rest()
    assert caught.value.reason == "NO_CAPACITY"
    assert caught.value.code is ErrorCode.RESOURCE_EXHAUSTED
    assert caught.value.retry_after is not None


async def test_slot_is_free_once_finished_arrives(execute, start_worker):
    """With one slot, one prompt right after the other is never refused."""
    await start_worker(engine_slots=1, instant_tokens=2)

    for number in range(30):
        execution = await execute(f"j{number}")
        events = await execution.rest()
        assert events[-1].WhichOneof("event") == "finished"


async def test_foreign_load_is_found_out_by_asking(
    execute, execution_on, start_worker, open_router
):
    """A worker that another router has filled says so, and nothing ran."""
    await start_worker(engine_slots=1, instant_tokens=200, instant_token_delay_ms=50)
    other = await open_router()
    async with other.channel_as("job-service") as channel:
        elsewhere = await execution_on(channel).start("j1")
        await elsewhere.next("decision")
        await elsewhere.next("started")

        execution = await execute("j2")

        await execution.next("decision")
        with pytest.raises(ServiceError) as caught:
            await execution.rest()
        assert caught.value.reason == "NO_CAPACITY"
        elsewhere.call.cancel()


async def test_second_worker_takes_over_what_the_first_refuses(execute, start_worker):
    """With the first worker full, the second one runs the prompt."""
    await start_worker("w1", engine_slots=1, instant_tokens=100, instant_token_delay_ms=50)
    await start_worker("w2", engine_slots=1, instant_tokens=100, instant_token_delay_ms=50)

    first, second = await execute("j1"), await execute("j2")

    workers = set()
    for execution in (first, second):
        await execution.next("decision")
        workers.add((await execution.next("started")).worker_id)
    assert workers == {"w1", "w2"}


async def test_cancel_reaches_the_engine(execute, start_worker_process, eventually):
    """Cancelling Execute frees the worker's slot within a second."""
    worker = await start_worker_process(instant_tokens=1000, instant_token_delay_ms=50)
    execution = await execute()
    await execution.next("decision")
    await execution.next("started")
    await execution.next("delta")
    assert await worker.busy() == 1

    execution.call.cancel()

    async def is_idle() -> bool:
        return await worker.busy() == 0

    await eventually(is_idle, seconds=1)


async def test_lost_worker_is_told_apart(execute, start_worker_process):
    """A worker killed in mid-stream ends the stream with WORKER_LOST."""
    worker = await start_worker_process(instant_tokens=1000, instant_token_delay_ms=20)
    execution = await execute()
    await execution.next("decision")
    await execution.next("started")
    await execution.next("delta")

    worker.kill()

    with pytest.raises(ServiceError) as caught:
        await execution.rest()
    assert caught.value.reason == "WORKER_LOST"
    assert caught.value.code is ErrorCode.UNAVAILABLE
    assert caught.value.metadata == {"worker_id": "w1"}


async def test_answer_that_takes_too_long_loses_no_worker(
    job_service, execute, execution_on, start_worker
):
    """The caller's time is up; the worker is there for the next prompt at once."""
    worker = await start_worker(instant_tokens=1000, instant_token_delay_ms=20)
    execution = await execution_on(job_service, timeout_seconds=1.0).start()
    with pytest.raises(ServiceError) as caught:
        await execution.rest()
    assert caught.value.reason == "DEADLINE_EXCEEDED"

    after = await execute("j2")

    await after.next("decision")
    await after.next("started")
    assert await worker.busy() <= 2
    after.call.cancel()


async def test_dead_worker_is_no_capacity(execute, start_worker_process):
    """A registered worker that can't be reached ran nothing."""
    worker = await start_worker_process()
    worker.kill()

    execution = await execute()

    await execution.next("decision")
    with pytest.raises(ServiceError) as caught:
        await execution.rest()
    assert caught.value.reason == "NO_CAPACITY"


async def test_live_worker_serves_beside_a_dead_one(execute, start_worker, start_worker_process):
    """Prompts reach the worker that lives, whichever is asked first."""
    dead = await start_worker_process("w1")
    await start_worker("w2")
    dead.kill()

    for number in range(4):
        events = await (await execute(f"j{number}")).rest()
        assert events[-1].WhichOneof("event") == "finished"


async def test_engine_failure_is_an_execution_failure(execute, start_worker):
    """An engine that breaks off fails the execution, without its words."""
    await start_worker(instant_fail_marker="BOOM")

    execution = await execute(text="please BOOM")

    await execution.next("decision")
    await execution.next("started")
    with pytest.raises(ServiceError) as caught:
        await execution.rest()
    assert caught.value.reason == "EXECUTION_FAILED"


async def test_too_long_prompt_keeps_its_reason(execute, start_worker):
    """The worker's own count decides, and the caller learns of it."""
    await start_worker(context_tokens=128, default_max_tokens=16)

    execution = await execute(text="word " * 129)

    await execution.next("decision")
    with pytest.raises(ServiceError) as caught:
        await execution.rest()
    assert caught.value.reason == "PROMPT_TOO_LONG"
    assert caught.value.code is ErrorCode.INVALID_ARGUMENT


async def test_max_tokens_ends_with_length(execute, start_worker):
    """The limit reaches the engine, and the reason comes back."""
    await start_worker(instant_tokens=50)

    events = await (await execute(max_tokens=3)).rest()

    assert events[-1].finished.finish_reason == worker_pb.FINISH_REASON_LENGTH
    assert events[-1].finished.usage.tokens_output == 3


async def test_unknown_model(execute, start_worker):
    """A model that nobody serves is not found, while workers are there."""
    await start_worker(model_name="small")

    with pytest.raises(ServiceError) as caught:
        await (await execute(model="large")).rest()

    assert caught.value.reason == "MODEL_NOT_SERVED"
    assert caught.value.code is ErrorCode.NOT_FOUND


async def test_without_workers_there_is_no_capacity(execute):
    """No worker at all is a matter of time, whatever the model."""
    for model in ("auto", "small"):
        with pytest.raises(ServiceError) as caught:
            await (await execute(model=model)).rest()
        assert caught.value.reason == "NO_CAPACITY"


async def test_stream_must_begin_with_start(execution_on, job_service):
    """A stream that begins otherwise is refused."""
    execution = execution_on(job_service)
    await execution.go("t1")

    with pytest.raises(ServiceError) as caught:
        await execution.rest()

    assert caught.value.code is ErrorCode.INVALID_ARGUMENT


async def test_decisions_are_counted(execute, start_worker, router):
    """Metrics name targets, reasons and outcomes from known sets."""
    await start_worker()
    await (await execute()).rest()

    text = await router.metrics()

    assert 'routing_decisions_total{reason="complexity_below_threshold",target="local"} 1.0' in text
    assert 'routing_executions_total{outcome="stop",target="local"} 1.0' in text


class TestFrozenWorker:
    """A worker that is stopped (SIGSTOP) keeps its connection and says nothing."""

    @pytest.fixture
    def router_settings(self):
        return {"worker_silence_seconds": 0.5}

    async def test_silence_ends_the_attempt(self, execute, start_worker_process):
        """The prompt is lost after the silence, not after minutes."""
        worker = await start_worker_process(instant_tokens=1000, instant_token_delay_ms=20)
        execution = await execute()
        await execution.next("decision")
        await execution.next("started")
        worker.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(ServiceError) as caught:
                await execution.rest()
            assert caught.value.reason == "WORKER_LOST"
        finally:
            worker.process.send_signal(signal.SIGCONT)
