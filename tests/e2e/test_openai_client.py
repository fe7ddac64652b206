"""The official `openai` client, unchanged, against the whole stack with the real model."""

from __future__ import annotations

import math
import time
from datetime import datetime

import openai
import pytest

QUESTION = [{"role": "user", "content": "Name one colour of the rainbow."}]


async def test_answer_carries_usage_decision_and_cost(account):
    """A chat answer is a normal OpenAI answer that says besides where it ran and what it cost."""
    answer = await account.openai.chat.completions.create(
        model="auto", messages=QUESTION, max_tokens=12
    )

    assert answer.choices[0].message.content.strip()
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert 0 < answer.usage.completion_tokens <= 12
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    weir = answer.model_extra["weir"]
    assert weir["target"] == "local"
    # Version 1 of the price book: $0.001 a token, both ways.
    assert weir["cost"]["charged_nanousd"] == answer.usage.total_tokens * 1_000_000
    assert weir["decision"]["complexity"]["score"] == 6
    assert weir["decision"]["explanation"]


async def test_headers_explain_the_route(account):
    """The decision is in headers too, for those who never parse the body."""
    raw = await account.openai.chat.completions.with_raw_response.create(
        model="auto", messages=QUESTION, max_tokens=2
    )

    assert raw.headers["x-weir-target"] == "local"
    assert raw.headers["x-weir-complexity"] == "6"
    assert raw.headers["x-weir-reason"]
    assert raw.headers["x-weir-job-id"] == raw.parse().model_extra["weir"]["job_id"]


async def test_stream_is_real_and_ends_with_usage(account):
    """Tokens arrive as several chunks; the last one carries usage and the weir object."""
    stream = await account.openai.chat.completions.create(
        model="auto",
        messages=[{"role": "user", "content": "Count from one to twenty in words."}],
        max_tokens=12,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]

    texts = [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content]
    assert len(texts) > 1
    assert chunks[-1].usage.completion_tokens <= 12
    assert chunks[-1].model_extra["weir"]["cost"]["charged_nanousd"] > 0


def test_synchronous_client_works_too(account, stack):
    """Most scripts use the blocking client: chat, streamed chat, completion, embedding."""
    with openai.OpenAI(api_key=account.api_key, base_url=f"{stack.gateway_url}/v1") as client:
        answer = client.chat.completions.create(model="auto", messages=QUESTION, max_tokens=4)
        with client.chat.completions.create(
            model="auto", messages=QUESTION, max_tokens=4, stream=True
        ) as stream:
            chunks = list(stream)
        completion = client.completions.create(model="auto", prompt="One, two,", max_tokens=4)
        embedding = client.embeddings.create(model="auto", input="one river")

    assert answer.usage.completion_tokens <= 4
    assert any(chunk.choices and chunk.choices[0].delta.content for chunk in chunks)
    assert completion.usage.completion_tokens <= 4
    assert len(embedding.data) == 1


async def test_completion_continues_a_text(account):
    """`/v1/completions` goes on where the text ends, with no chat template around it."""
    answer = await account.openai.completions.create(
        model="auto", prompt="one, two, three, four, five,", max_tokens=8, temperature=0
    )

    assert "six" in answer.choices[0].text
    assert answer.object == "text_completion"
    # A template would add its own tokens to these twelve or so.
    assert answer.usage.prompt_tokens < 16
    assert answer.usage.completion_tokens <= 8
    weir = answer.model_extra["weir"]
    assert weir["cost"]["charged_nanousd"] == answer.usage.total_tokens * 1_000_000


async def test_completion_streams(account):
    """A streamed completion gives its text in pieces, and its usage at last if asked."""
    stream = await account.openai.completions.create(
        model="auto",
        prompt="one, two, three, four,",
        max_tokens=8,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]

    assert len([c for c in chunks if c.choices and c.choices[0].text]) > 1
    assert chunks[-1].usage.completion_tokens <= 8


async def test_embeddings_tell_meanings_apart(account):
    """Vectors of texts that mean the same are closer than those of others."""
    texts = ["The cat sleeps on the sofa.", "A cat is sleeping on the couch.", "SELECT a FROM b;"]

    answer = await account.openai.embeddings.create(model="auto", input=texts)
    as_floats = await account.openai.embeddings.create(
        model="auto", input=texts[0], encoding_format="float"
    )

    cat, couch, query = (each.embedding for each in answer.data)
    assert [each.index for each in answer.data] == [0, 1, 2]
    assert _cosine(cat, couch) > _cosine(cat, query)
    assert _cosine(cat, as_floats.data[0].embedding) > 0.999
    assert answer.usage.total_tokens == answer.usage.prompt_tokens > 0
    weir = answer.model_extra["weir"]
    assert weir["cost"]["charged_nanousd"] == answer.usage.total_tokens * 1_000_000


async def test_repeated_embedding_is_not_charged_again(account):
    """The same Idempotency-Key gives the same vectors, for nothing."""
    headers = {"Idempotency-Key": "the-same"}
    first = await account.openai.embeddings.create(
        model="auto", input=["a", "b"], extra_headers=headers
    )
    again = await account.openai.embeddings.create(
        model="auto", input=["a", "b"], extra_headers=headers
    )

    assert [each.embedding for each in again.data] == [each.embedding for each in first.data]
    assert len(await account.jobs()) == 1


async def test_models_are_listed(account):
    """`models.list()` shows what the registered worker serves, and its ids can be asked for."""
    models = [model.id async for model in account.openai.models.list()]

    answer = await account.openai.chat.completions.create(
        model=next(name for name in models if name != "auto"), messages=QUESTION, max_tokens=2
    )

    assert answer.model in models


async def test_unknown_model_is_named(account):
    """The client's own error class, with OpenAI's code."""
    with pytest.raises(openai.NotFoundError) as caught:
        await account.openai.chat.completions.create(model="gpt-99", messages=QUESTION)

    assert caught.value.code == "model_not_found"
    assert await account.charged_nanousd() == 0


async def test_spent_budget_is_insufficient_quota_and_not_retried(account, monkeypatch):
    """A refused budget is final: the client raises at once instead of trying again."""
    await account.set_budget("0.000001")
    requests = []
    account.openai._client.event_hooks["request"].append(_append_to(requests))

    with pytest.raises(openai.RateLimitError) as caught:
        await account.openai.chat.completions.create(model="auto", messages=QUESTION)

    assert caught.value.code == "insufficient_quota"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert len(requests) == 1
    assert await account.charged_nanousd() == 0


async def test_wrong_key_is_refused(stack):
    """A key that nobody made is an authentication error, and reveals nothing."""
    async with openai.AsyncOpenAI(
        api_key="sk-" + "a" * 48, base_url=f"{stack.gateway_url}/v1", max_retries=0
    ) as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            await client.models.list()

    assert caught.value.code == "invalid_api_key"


async def test_client_that_leaves_pays_for_what_was_made(account, stack, until):
    """A dropped stream stops the engine within a second and settles; nothing stays held."""
    stream = await account.openai.chat.completions.create(
        model="auto",
        messages=[{"role": "user", "content": "Count from one to five hundred in words."}],
        max_tokens=400,
        stream=True,
    )
    async for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            break
    await stream.close()
    left_at = time.time()

    async def settled():
        job = (await account.jobs())[0]
        budget = await account.budget()
        return job if job["state"] == "cancelled" and budget["reserved_nanousd"] == 0 else None

    job = await until(settled, seconds=10)
    assert 0 < job["tokens_used_output"] < 400

    async def stopped_line():
        return stack.log_lines("gpu-worker", "generation.finished", job_id=job["job_id"])

    (stopped,) = await until(stopped_line, seconds=10)
    assert stopped["outcome"] == "cancelled"
    assert datetime.fromisoformat(stopped["timestamp"]).timestamp() - left_at < 1


def _append_to(requests):
    async def hook(request):
        requests.append(request)

    return hook


def _cosine(one, other):
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))
