"""The official `openai` client, unchanged, against the gateway and a scripted job-service."""

import asyncio

import openai
import pytest
import pytest_asyncio

from service_kit.errors import ErrorCode

from ..stand_ins import JOB_ID, Events, answering, api_key, embedding, refusal

MESSAGES = [{"role": "user", "content": "Hi"}]


@pytest_asyncio.fixture(loop_scope="session")
async def client(served, script):
    async with openai.AsyncOpenAI(api_key=api_key(), base_url=f"{served.url}/v1") as found:
        yield found


async def test_completion(client):
    """An answer is an answer."""
    answer = await client.chat.completions.create(model="auto", messages=MESSAGES, max_tokens=5)

    assert answer.choices[0].message.content == "Hello world"
    assert answer.usage.total_tokens == 7
    assert answer.usage.prompt_tokens_details.cached_tokens == 1
    assert answer.model_extra["weir"]["cost"]["charged_nanousd"] == 7_000_000


async def test_stream(client):
    """Chunks are parsed one by one, keep-alive comments skipped."""
    stream = await client.chat.completions.create(
        model="auto", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(texts) == "Hello world"
    assert chunks[-1].usage.total_tokens == 7
    assert chunks[-1].model_extra["weir"]["job_id"] == JOB_ID


async def test_stream_helper(client):
    """The client's own accumulating helper understands the stream."""
    async with client.chat.completions.stream(model="auto", messages=MESSAGES) as stream:
        async for _ in stream:
            pass
        whole = await stream.get_final_completion()

    assert whole.choices[0].message.content == "Hello world"
    assert whole.choices[0].finish_reason == "stop"


async def test_text_completion(client):
    """Whole and streamed."""
    answer = await client.completions.create(model="auto", prompt="Say")
    stream = await client.completions.create(
        model="auto", prompt="Say", stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    assert answer.choices[0].text == "Hello world"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model_extra["weir"]["cost"]["charged_nanousd"] == 7_000_000
    assert "".join(one.choices[0].text for one in chunks if one.choices) == "Hello world"
    assert chunks[-1].usage.total_tokens == 7


async def test_text_completion_that_fails_midway(client, script):
    """The error comes out of the stream, and one job was made."""

    async def run(request, context):
        yield Events.admitted()
        yield Events.decision()
        yield Events.started()
        yield Events.delta("Hel")
        raise refusal(ErrorCode.UNAVAILABLE, "EXECUTION_FAILED", "The worker is gone.")

    script.answers["RunJob"] = run

    stream = await client.completions.create(model="auto", prompt="Say", stream=True)
    with pytest.raises(openai.APIError, match="The worker is gone"):
        async for _ in stream:
            pass

    assert len(script.of("RunJob")) == 1


@pytest.mark.parametrize("options", [{}, {"encoding_format": "float"}], ids=["default", "float"])
async def test_embedding(client, script, options):
    """The client decodes base64 by itself, which it asks for unless told otherwise."""
    script.answers["RunJob"] = embedding([0.5, -1.0], [0.25, 2.0])

    answer = await client.embeddings.create(model="auto", input=["a", "b"], **options)

    assert [one.embedding for one in answer.data] == [[0.5, -1.0], [0.25, 2.0]]
    assert answer.usage.total_tokens == 3
    assert answer.model_extra["weir"]["job_id"] == JOB_ID


async def test_raw_response(client):
    """Headers are reachable as the client's documentation says."""
    raw = await client.chat.completions.with_raw_response.create(model="auto", messages=MESSAGES)

    assert raw.headers["x-weir-job-id"] == JOB_ID
    assert raw.request_id


def in_a_thread(served, ask):
    def run():
        with openai.OpenAI(api_key=api_key(), base_url=f"{served.url}/v1") as client:
            return ask(client)

    return asyncio.to_thread(run)


async def test_blocking_client(served, script):
    """Most scripts use it."""
    answer = await in_a_thread(
        served, lambda client: client.chat.completions.create(model="auto", messages=MESSAGES)
    )
    texts = await in_a_thread(
        served,
        lambda client: [
            chunk.choices[0].delta.content or ""
            for chunk in client.chat.completions.create(
                model="auto", messages=MESSAGES, stream=True
            )
        ],
    )

    completion = await in_a_thread(
        served, lambda client: client.completions.create(model="auto", prompt="Say")
    )
    script.answers["RunJob"] = embedding([0.5])
    vector = await in_a_thread(
        served, lambda client: client.embeddings.create(model="auto", input="a")
    )

    assert answer.choices[0].message.content == "".join(texts) == "Hello world"
    assert completion.choices[0].text == "Hello world"
    assert vector.data[0].embedding == [0.5]


async def test_models(client):
    """`auto` and what is served; each by its name, too."""
    models = [model.id async for model in client.models.list()]
    one = await client.models.retrieve("smollm2")

    assert models == ["auto", "smollm2"]
    assert (one.id, one.owned_by) == ("smollm2", "local")
    (target,) = one.model_extra["weir"]["targets"]
    assert target["operations"] == ["chat", "completion", "embedding"]
    with pytest.raises(openai.NotFoundError) as caught:
        await client.models.retrieve("gpt-99/x")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("code", "reason", "kind", "word", "requests"),
    [
        (
            ErrorCode.RESOURCE_EXHAUSTED,
            "BUDGET_EXCEEDED",
            openai.RateLimitError,
            "insufficient_quota",
            1,
        ),
        (ErrorCode.NOT_FOUND, "MODEL_NOT_FOUND", openai.NotFoundError, "model_not_found", 1),
        (
            ErrorCode.PERMISSION_DENIED,
            "PERMISSION_DENIED",
            openai.PermissionDeniedError,
            "permission_denied",
            1,
        ),
        (ErrorCode.UNAVAILABLE, "NO_CAPACITY", openai.InternalServerError, "no_capacity", 2),
    ],
)
async def test_errors_are_the_clients_own(client, script, code, reason, kind, word, requests):
    """Its classes and codes; it retries what may succeed and nothing else."""
    script.answers["RunJob"] = refusal(code, reason)

    with pytest.raises(kind) as caught:
        await client.with_options(max_retries=1).chat.completions.create(
            model="auto", messages=MESSAGES
        )

    assert caught.value.code == word
    assert len(script.of("RunJob")) == requests


@pytest.mark.parametrize("stream", [False, True])
async def test_begun_work_is_not_sent_again(client, script, stream):
    """A failure after work began reaches the program at once: one job, one charge (X-M12)."""

    async def run(request, context):
        yield Events.admitted()
        yield Events.decision()
        yield Events.started()
        raise refusal(ErrorCode.UNAVAILABLE, "EXECUTION_FAILED")

    script.answers["RunJob"] = run

    async def ask():
        answer = await client.chat.completions.create(
            model="auto", messages=MESSAGES, stream=stream
        )
        return [chunk async for chunk in answer] if stream else answer

    with pytest.raises(openai.APIError):
        await ask()

    assert len(script.of("RunJob")) == 1


async def test_lost_capacity_is_waited_for(client, script):
    """A 503 with Retry-After is tried again by the client itself, and then succeeds."""
    outcomes = [refusal(ErrorCode.UNAVAILABLE, "NO_CAPACITY"), None]

    async def run(request, context):
        error = outcomes.pop(0)
        if error:
            raise error
        async for event in answering("There.")(request, context):
            yield event

    script.answers["RunJob"] = run

    answer = await client.chat.completions.create(model="auto", messages=MESSAGES)

    assert answer.choices[0].message.content == "There."


async def test_wrong_key(served, script):
    """A key that fails its checksum is refused without a question to anybody."""
    async with openai.AsyncOpenAI(api_key="sk-" + "a" * 49, base_url=f"{served.url}/v1") as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            await client.models.list()

    assert caught.value.code == "invalid_api_key"
    assert not script.of("ExchangeApiKey")


async def test_unsupported_feature(client, script):
    """Tools are refused with the parameter's name."""
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(
            model="auto",
            messages=MESSAGES,
            tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}],
        )

    assert caught.value.param == "tools"
