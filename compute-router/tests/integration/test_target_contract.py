"""What every target keeps, whatever runs behind it.

A provider joins by adding a harness to `HARNESSES`: how to open the target over
a real server, and how that server can be made slow, full or broken.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import pytest

from compute_router.adapters.local_target import LocalTarget
from compute_router.adapters.worker_channels import WorkerChannels
from compute_router.domain.errors import ExecutionFailed, PromptRefused, RanNothing
from compute_router.domain.execution import (
    Delta,
    Finished,
    FinishReason,
    Job,
    Sampling,
    Started,
    Task,
)
from compute_router.domain.query import ChatMessage, RouteQuery
from compute_router.usecases.ports import StoredWorker, Target
from compute_router.usecases.worker_fleet import WorkerFleet
from service_kit.clock import SystemClock
from service_kit.metrics import new_registry

MODEL = "small"
FAILS = "BOOM"
CONTEXT_TOKENS = 128


@dataclass(frozen=True)
class OpenTarget:
    """A target, and a look behind it."""

    target: Target
    busy: Callable[[], Awaitable[int]]


@pytest.fixture
def local(pki, start_worker, router):
    """The local target over one worker with two slots."""

    @asynccontextmanager
    async def opened(token_delay_ms: float = 0) -> AsyncIterator[OpenTarget]:
        worker = await start_worker(
            model_name=MODEL,
            engine_slots=2,
            context_tokens=CONTEXT_TOKENS,
            default_max_tokens=64,
            instant_tokens=20,
            instant_token_delay_ms=token_delay_ms,
            instant_fail_marker=FAILS,
        )
        fleet = WorkerFleet(SystemClock())
        (announced,) = await router.workers()
        fleet.read([StoredWorker(announced, timedelta(seconds=60))])
        channels = WorkerChannels(pki["compute-router"], new_registry("compute-router"))
        try:
            yield OpenTarget(LocalTarget(fleet, channels), worker.busy)
        finally:
            await channels.close()

    return opened


HARNESSES = ["local"]


@pytest.fixture(params=HARNESSES)
def opened(request):
    return request.getfixturevalue(request.param)


def a_task(text: str = "hello", number: int = 1, model: str = MODEL, **sampling) -> Task:
    query = RouteQuery(model, text, tokens_input_bound=len(text))
    job = Job(f"j{number}", 1, query, (ChatMessage("user", text),), Sampling(**sampling))
    return Task(f"j{number}-1-1", model, job)


async def events_of(target: Target, task: Task) -> list:
    return [event async for event in target.execute(task)]


async def test_state_tells_what_it_serves(opened):
    """A target that answers is available, and names its models."""
    async with opened() as behind:
        state = behind.target.state()

    assert state.available
    assert state.name == behind.target.name
    assert state.paid == behind.target.paid
    assert state.find_model(MODEL).context_tokens == CONTEXT_TOKENS
    assert state.status


async def test_answer_starts_streams_and_finishes(opened):
    """Exactly one start first, exactly one end last, and usage equal to what streamed."""
    async with opened() as behind:
        events = await events_of(behind.target, a_task())

    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Finished)
    deltas = events[1:-1]
    assert all(isinstance(event, Delta) for event in deltas)
    assert (events[0].target, events[0].model) == (behind.target.name, MODEL)
    assert events[-1].finish_reason is FinishReason.STOP
    assert events[-1].usage.tokens_output == sum(delta.tokens for delta in deltas) == 20


async def test_limit_is_passed_on(opened):
    """`max_tokens` ends the answer with `length`."""
    async with opened() as behind:
        finished = (await events_of(behind.target, a_task(max_tokens=3)))[-1]

    assert finished.finish_reason is FinishReason.LENGTH
    assert finished.usage.tokens_output == 3


async def test_closing_stops_the_work(opened, eventually):
    """Within a second of closing the stream nothing runs any more."""
    async with opened(token_delay_ms=50) as behind:
        events = behind.target.execute(a_task())
        while not isinstance(await anext(events), Delta):
            pass
        assert await behind.busy() == 1

        await events.aclose()

        async def is_idle() -> bool:
            return await behind.busy() == 0

        await eventually(is_idle, seconds=1)


async def test_cancelled_reader_stops_the_work(opened, eventually):
    """The same when the task that reads is cancelled."""
    async with opened(token_delay_ms=50) as behind:
        reading = asyncio.create_task(events_of(behind.target, a_task()))

        async def is_busy() -> bool:
            return await behind.busy() == 1

        async def is_idle() -> bool:
            return await behind.busy() == 0

        await eventually(is_busy)
        reading.cancel()
        await eventually(is_idle, seconds=1)


async def test_full_target_ran_nothing(opened):
    """What can't be taken is said to have run nothing, and does not disturb what runs."""
    async with opened(token_delay_ms=20) as behind:
        running = [behind.target.execute(a_task(number=number)) for number in (1, 2)]
        for events in running:
            assert isinstance(await anext(events), Started)

        with pytest.raises(RanNothing) as caught:
            await events_of(behind.target, a_task(number=3))

        assert caught.value.reason == "NO_CAPACITY"
        for events in running:
            async with aclosing(events):
                assert isinstance([event async for event in events][-1], Finished)


async def test_too_long_prompt_is_refused(opened):
    """Before anything ran, with the target's reason."""
    async with opened() as behind:
        with pytest.raises(PromptRefused) as caught:
            await events_of(behind.target, a_task("word " * (CONTEXT_TOKENS + 1)))

    assert caught.value.reason == "PROMPT_TOO_LONG"


async def test_impossible_parameter_is_refused(opened):
    """The target's own check of ranges comes back to the caller."""
    async with opened() as behind:
        with pytest.raises(PromptRefused) as caught:
            await events_of(behind.target, a_task(temperature=9.0))

    assert caught.value.reason == "INVALID_ARGUMENT"


async def test_failure_is_a_failure(opened):
    """A target that had the prompt and failed is not said to have run nothing."""
    async with opened() as behind:
        with pytest.raises(ExecutionFailed):
            await events_of(behind.target, a_task(FAILS))
