"""The real engine with the real small model, over mutual TLS."""

import asyncio
import hashlib

import grpc
import pytest
from weir.worker.v1 import inference_service_pb2 as pb

from gpu_worker.adapters.llama_library import EngineUnusable
from gpu_worker.adapters.llama_server import LlamaOptions, LlamaServer
from gpu_worker.domain.prompt import ChatMessage, Role
from service_kit.errors import ErrorCode, ServiceError
from service_kit.signatures import canonical_json


async def test_usage_is_what_streamed(worker):
    """The tokens of the deltas add up to the usage, the one that ends an answer included."""
    answer = await worker.answer("Say hello.", max_tokens=40)

    assert answer.text.strip()
    assert answer.finished.finish_reason == pb.FINISH_REASON_STOP
    assert answer.tokens == answer.finished.usage.tokens_output > 1
    assert answer.finished.started_at.ToDatetime() < answer.finished.finished_at.ToDatetime()
    assert answer.events[0].started == pb.GenerateResponse.Started(
        worker_id="w1", model="smollm2", model_digest="d1"
    )


async def test_text_is_continued_without_a_template(worker, llama_server):
    """The input is the text's tokens and no more; usage and signature agree with the stream."""
    text = "One, two, three, four, five, six,"

    answer = await worker.answer(operation=pb.OPERATION_COMPLETION, inputs=[text], max_tokens=2)

    assert answer.text.startswith(" seven")
    usage = answer.finished.usage
    assert usage.tokens_input == llama_server.count(text)
    assert answer.tokens == usage.tokens_output == 2
    assert answer.finished.finish_reason == pb.FINISH_REASON_LENGTH
    said = answer.statement
    assert (said["operation"], said["tokens_output"]) == ("completion", 2)
    assert said["output_digest"] == hashlib.sha256(answer.text.encode()).hexdigest()
    assert said["prompt_digest"] == hashlib.sha256(canonical_json({"inputs": [text]})).hexdigest()


@pytest.mark.parametrize("max_tokens", [4, 5])
async def test_continued_text_is_never_cut_inside_a_character(worker, max_tokens):
    """Tokens that made no whole character are counted all the same."""
    answer = await worker.answer(
        operation=pb.OPERATION_COMPLETION, inputs=["🎉🎊🥳 🎉🎊🥳 🎉🎊🥳"], max_tokens=max_tokens
    )

    assert "\ufffd" not in answer.text
    assert answer.tokens == answer.finished.usage.tokens_output == max_tokens


async def test_too_long_text_is_not_continued(worker):
    """It is refused instead of started."""
    with pytest.raises(ServiceError) as caught:
        await worker.answer(operation=pb.OPERATION_COMPLETION, inputs=["word " * 300])

    assert caught.value.reason == "PROMPT_TOO_LONG"


async def test_input_is_counted_by_the_template(worker, llama_server):
    """The input tokens are those of the rendered template."""
    rendered = llama_server.render([ChatMessage(Role.USER, "What is rain?")])

    answer = await worker.answer("What is rain?", max_tokens=1)

    assert answer.finished.usage.tokens_input == llama_server.count(rendered)
    assert answer.finished.usage.tokens_input_cached < answer.finished.usage.tokens_input


async def test_overhead_bounds_what_the_template_adds(llama_engine, llama_server):
    """Text plus overhead is never less than what the engine counts, and not much more."""
    overhead = await llama_engine.overhead()
    strange = ChatMessage(Role.USER, "你好 🎉\n")
    conversations = [
        [ChatMessage(Role.USER, "hi")],
        [ChatMessage(Role.SYSTEM, "Be brief."), ChatMessage(Role.USER, "hi")],
        [ChatMessage(Role.USER, "\n\n"), ChatMessage(Role.ASSISTANT, " "), *3 * [strange]],
        [ChatMessage(Role.TOOL, "{}"), ChatMessage(Role.ASSISTANT, "")],
    ]

    for messages in conversations:
        text = sum(llama_server.count(message.content) for message in messages)
        bound = overhead.prompt_tokens + len(messages) * overhead.message_tokens + text
        assert llama_server.count(llama_server.render(messages)) <= bound
    assert overhead.prompt_tokens < 40
    assert overhead.message_tokens < 10


async def test_max_tokens_ends_with_length(worker):
    """The limit is kept exactly."""
    answer = await worker.answer("Tell me a long story.", max_tokens=5)

    assert answer.finished.finish_reason == pb.FINISH_REASON_LENGTH
    assert answer.finished.usage.tokens_output == answer.tokens == 5


async def test_full_context_ends_the_answer(worker, llama_server):
    """An answer ends where the context does."""
    answer = await worker.answer("word " * 215, max_tokens=400)

    usage = answer.finished.usage
    assert usage.tokens_input + usage.tokens_output <= llama_server.context_tokens


CHAT = {"text": "Tell me a long story."}
COMPLETION = {"operation": pb.OPERATION_COMPLETION, "inputs": ["One, two, three,"]}


@pytest.mark.parametrize("asked", [CHAT, COMPLETION])
async def test_cancel_stops_the_engine(worker, eventually, asked):
    """The slot is free within a second of the caller's leaving, and can be used again."""
    call = worker.generate(**asked, max_tokens=400)
    async for response in call:
        if response.WhichOneof("event") == "delta":
            break
    assert worker.slots.busy == 1

    call.cancel()

    await eventually(lambda: worker.slots.busy == 0, seconds=1)
    first, second = await asyncio.gather(worker.answer(max_tokens=2), worker.answer(max_tokens=2))
    assert first.tokens == second.tokens == 2


async def test_cancel_while_the_prompt_is_read(worker, eventually):
    """A prompt that is still being read is stopped too."""
    call = worker.generate("dog " * 215, max_tokens=5)
    assert (await call.read()).WhichOneof("event") == "started"

    call.cancel()

    await eventually(lambda: worker.slots.busy == 0, seconds=3)


async def test_two_prompts_share_the_engine(worker):
    """Two slots answer side by side."""
    calls = [worker.generate(f"Count to {number} in words.", max_tokens=12) for number in (8, 9)]
    for call in calls:
        assert (await call.read()).WhichOneof("event") == "started"
    assert worker.slots.busy == 2

    answers = await asyncio.gather(*(read_all(call) for call in calls))

    for events in answers:
        tokens = sum(event.delta.tokens for event in events)
        assert events[-1].finished.usage.tokens_output == tokens > 1


async def read_all(call) -> list[pb.GenerateResponse]:
    """Return what is left of a call from which something was read."""
    events = []
    while (response := await call.read()) is not grpc.aio.EOF:
        events.append(response)
    return events


async def test_third_prompt_is_refused(worker):
    """Without a free slot nothing runs, and the caller learns when to come again."""
    calls = [worker.generate("Tell me a long story.", max_tokens=200) for _ in range(2)]
    for call in calls:
        assert (await call.read()).WhichOneof("event") == "started"

    with pytest.raises(ServiceError) as caught:
        await worker.answer()

    assert caught.value.code is ErrorCode.RESOURCE_EXHAUSTED
    assert caught.value.reason == "WORKER_BUSY"
    assert caught.value.retry_after is not None
    for call in calls:
        call.cancel()


async def test_too_long_prompt_is_refused_before_it_runs(worker):
    """The error names both counts, and comes instead of `Started`."""
    with pytest.raises(ServiceError) as caught:
        await worker.answer("word " * 2000)

    assert caught.value.code is ErrorCode.INVALID_ARGUMENT
    assert caught.value.reason == "PROMPT_TOO_LONG"
    assert int(caught.value.metadata["tokens"]) > int(caught.value.metadata["context_tokens"])
    assert worker.slots.busy == 0


@pytest.mark.parametrize("max_tokens", [3, 5, 8, 13])
async def test_text_is_never_cut_inside_a_character(worker, max_tokens):
    """Characters of several tokens arrive whole or not at all, and every token counts."""
    answer = await worker.answer(
        "Repeat exactly: 🎉🎊🥳 你好世界 ñandú", max_tokens=max_tokens, temperature=1, seed=7
    )

    assert "\ufffd" not in answer.text
    assert answer.tokens == answer.finished.usage.tokens_output


async def test_conversation_of_all_roles(worker):
    """System, user, assistant and tool messages reach the template."""
    answer = await worker.answer(
        messages=[
            ("system", "You answer in one word."),
            ("user", "What is the capital of France?"),
            ("assistant", "Paris"),
            ("tool", "weather: sunny"),
            ("user", "And of Italy?"),
        ],
        max_tokens=4,
    )

    assert answer.tokens >= 1


@pytest.mark.parametrize(
    "values",
    [
        {"messages": [("root", "hello")]},
        {"messages": []},
        {"temperature": -1},
        {"temperature": float("nan")},
        {"top_p": 2},
        {"max_tokens": -1},
        {"stop": [""]},
        {"frequency_penalty": 9},
        {"presence_penalty": float("inf")},
    ],
)
async def test_impossible_prompt_is_refused(worker, values):
    """What the engine would take in silence is refused by name."""
    with pytest.raises(ServiceError) as caught:
        await worker.answer(**values)

    assert caught.value.code is ErrorCode.INVALID_ARGUMENT
    assert caught.value.reason == "INVALID_ARGUMENT"


async def test_other_model_is_not_served(worker):
    """A prompt for another model does not run on this one."""
    with pytest.raises(ServiceError) as caught:
        await worker.answer(model="gpt-5")

    assert caught.value.code is ErrorCode.NOT_FOUND
    assert caught.value.reason == "MODEL_NOT_SERVED"


async def test_stop_text_ends_the_answer(worker):
    """The answer ends before the stop text."""
    whole = await worker.answer("Say hello.", max_tokens=12)
    word = whole.text.split()[1]

    answer = await worker.answer("Say hello.", max_tokens=12, stop=[word])

    assert word not in answer.text
    assert answer.finished.finish_reason == pb.FINISH_REASON_STOP
    assert answer.tokens == answer.finished.usage.tokens_output


@pytest.mark.parametrize("seed", [0, 42, -3, 2**40])
async def test_seed_repeats_the_answer(worker, seed):
    """The same seed gives the same words, whatever number it is."""
    _, first, again = [
        await worker.answer("Tell me a story.", max_tokens=8, temperature=1, seed=seed)
        for _ in range(3)  # the first one fills the cache, which may change the last bits
    ]

    assert first.text == again.text


async def test_default_length(worker):
    """Without `max_tokens` the worker's default holds."""
    answer = await worker.answer("Tell me a very long story.", max_tokens=0)

    assert answer.finished.usage.tokens_output <= 16


async def test_tokens_of_a_text_are_counted(worker):
    """CountTokens is the model's tokenizer, without a template."""
    response = await worker.stub.CountTokens(pb.CountTokensRequest(text="hello world"))

    assert response.tokens == 2


async def test_slow_reader_holds_the_stream_only(worker):
    """A caller that does not read keeps its slot; the other slot goes on."""
    slow = worker.generate("Tell me a long story.", max_tokens=100)
    assert (await slow.read()).WhichOneof("event") == "started"

    answer = await worker.answer(max_tokens=3)

    assert answer.tokens == 3
    slow.cancel()


def test_no_model_is_said(tmp_path):
    """A file that is no model is named in the error."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF nothing")

    with pytest.raises(EngineUnusable, match=r"broken\.gguf"):
        LlamaServer(LlamaOptions(broken, "x", slots=1, context_tokens=128, threads=1))
