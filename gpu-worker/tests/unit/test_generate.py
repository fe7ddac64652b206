"""Generate: slots, events, outcomes."""

import asyncio
import hashlib
import json
import struct
from contextlib import aclosing
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from gpu_worker.domain.errors import (
    EngineFailed,
    ModelNotServed,
    OperationNotServed,
    PromptTooLong,
    WorkerBusy,
)
from gpu_worker.domain.generation import (
    Accepted,
    Delta,
    Embedding,
    Ended,
    Finished,
    FinishReason,
    Started,
    Usage,
)
from gpu_worker.domain.prompt import Operation, Prompt
from gpu_worker.domain.result_statement import prompt_digest
from service_kit.signatures import is_signed


async def collected(events):
    return [event async for event in events]


async def test_events_come_in_order(generate, prompt):
    """Started, deltas, Finished with the usage and the times."""
    events = await collected(generate(prompt))

    assert events[:-1] == [Started("w1", "small", "d1"), Delta("a", 1), Delta("b", 1)]
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert (finished.finish_reason, finished.usage) == (FinishReason.STOP, Usage(3, 2))
    assert finished.started_at < finished.finished_at


async def test_result_is_signed(generate, prompt):
    """The statement is about this very job, its answer and its times."""
    finished = (await collected(generate(prompt)))[-1]

    signed = finished.signed_result
    assert is_signed(signed.statement, signed.signature, generate.signing_key.public_key)
    assert json.loads(signed.statement) == {
        "type": "weir.result.v1",
        "job_id": "j1",
        "attempt": 1,
        "worker_id": "w1",
        "operation": "chat",
        "model": "small",
        "model_digest": "d1",
        "prompt_digest": prompt_digest(prompt),
        "output_digest": hashlib.sha256(b"ab").hexdigest(),
        "tokens_input": 3,
        "tokens_output": 2,
        "finish_reason": "stop",
        "started_at": written(finished.started_at),
        "finished_at": written(finished.finished_at),
    }


def written(time):
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


async def test_embeddings_are_signed_and_say_nothing_of_the_pace(generate, engine):
    """Vectors take no output tokens, so a worker is not slow for having made them."""
    vectors = [Embedding(0, (1.0, 0.0)), Embedding(1, (0.5, -0.5))]
    engine.events = [Accepted(), *vectors, Ended(FinishReason.STOP, Usage(2, 0))]
    prompt = Prompt("j1", 1, "small", operation=Operation.EMBEDDING, inputs=("a", "b"))

    started, *given, finished = await collected(generate(prompt))

    assert isinstance(started, Started)
    assert given == vectors
    said = json.loads(finished.signed_result.statement)
    assert said["operation"] == "embedding"
    assert said["output_digest"] == hashlib.sha256(struct.pack("<4f", 1, 0, 0.5, -0.5)).hexdigest()
    assert generate.pace.tokens_per_second == 0


async def test_slot_is_free_before_finished(generate, prompt):
    """Whoever sees the end may ask again at once."""
    async with aclosing(generate(prompt)) as events:
        async for event in events:
            assert generate.slots.busy == (0 if isinstance(event, Finished) else 1)


async def test_other_model_is_refused(generate, prompt, engine):
    """A prompt for another model never reaches the engine."""
    with pytest.raises(ModelNotServed):
        await collected(generate(replace(prompt, model="large")))

    assert not engine.closed


async def test_operation_that_is_not_served(generate, engine, measurements):
    """It is refused by name, and never reaches the engine."""
    prompt = Prompt("j1", 1, "small", operation=Operation.COMPLETION, inputs=("a",))

    with pytest.raises(OperationNotServed) as caught:
        await collected(generate(prompt))

    assert caught.value.metadata == {"operation": "completion", "model": "small"}
    assert not engine.closed
    assert measurements.outcomes == [("refused", None)]


async def test_busy_worker_refuses(generate, prompt, measurements):
    """The second prompt of a worker with one slot is counted as refused."""
    async with aclosing(generate(prompt)) as events:
        await anext(events)
        with pytest.raises(WorkerBusy):
            await collected(generate(prompt))

    assert [outcome for outcome, _ in measurements.outcomes] == ["refused", "cancelled"]


async def test_closing_stops_the_engine(generate, prompt, engine):
    """Closing the generator closes the engine's, and frees the slot."""
    events = generate(prompt)
    await anext(events)

    await events.aclose()

    assert engine.closed
    assert generate.slots.busy == 0


async def test_cancelled_task_stops_the_engine(generate, prompt, engine, measurements):
    """A cancelled wait for the engine does the same."""
    engine.events[2:] = [asyncio.Event()]
    reading = asyncio.create_task(collected(generate(prompt)))
    await asyncio.sleep(0.01)

    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading

    assert engine.closed
    assert generate.slots.busy == 0
    assert measurements.outcomes == [("cancelled", None)]


async def test_refused_prompt_never_starts(generate, prompt, engine, measurements):
    """A prompt that does not fit is refused instead of started."""
    engine.events = [PromptTooLong(200, 100)]

    with pytest.raises(PromptTooLong):
        await collected(generate(prompt))

    assert measurements.outcomes == [("refused", None)]


async def test_engine_that_fails_or_just_stops(generate, prompt, engine, measurements):
    """An engine that ends without saying how has failed too."""
    for events in ([Accepted(), EngineFailed()], [Accepted(), Delta("a", 1)]):
        engine.events = events
        with pytest.raises(EngineFailed):
            await collected(generate(prompt))

    assert measurements.outcomes == [("failed", None)] * 2
    assert generate.slots.busy == 0


async def test_pace_is_measured_between_tokens(generate, prompt):
    """Two tokens half a second apart are two tokens a second."""
    await collected(generate(prompt))

    assert generate.pace.tokens_per_second == 2


async def test_log_holds_no_words(generate, prompt):
    """Job and counts are logged, prompt and answer are not."""
    with capture_logs() as logs:
        await collected(generate(prompt))

    (entry,) = logs
    assert entry["job_id"] == "j1"
    assert entry["tokens_output"] == 2
    assert "secret" not in str(entry)
