"""The stand-in keeps the engine's contract."""

import math

import pytest

from gpu_worker.adapters.instant_engine import InstantEngine
from gpu_worker.domain.errors import EngineFailed, PromptTooLong
from gpu_worker.domain.generation import (
    Accepted,
    Delta,
    Embedding,
    Ended,
    FinishReason,
    Usage,
)
from gpu_worker.domain.prompt import ChatMessage, Operation, Prompt, Role, Sampling


def an_engine(**changes):
    values = {"tokens": 3, "token_delay_seconds": 0, "context_tokens": 8, "default_max_tokens": 5}
    return InstantEngine(**{**values, **changes})


async def events_of(engine, text="a b", **sampling):
    prompt = Prompt("j", 1, "m", (ChatMessage(Role.USER, text),), Sampling(**sampling))
    return [event async for event in engine.generate(prompt)]


async def test_answer_is_always_the_same():
    """Words are tokens."""
    events = await events_of(an_engine())

    assert events == [
        Accepted(),
        Delta("word0", 1),
        Delta(" word1", 1),
        Delta(" word2", 1),
        Ended(FinishReason.STOP, Usage(2, 3)),
    ]
    assert events == await events_of(an_engine())


@pytest.mark.parametrize(
    ("engine", "text", "sampling", "length"),
    [
        (an_engine(), "a b", {"max_tokens": 2}, 2),
        (an_engine(tokens=9), "a b", {}, 5),
        (an_engine(tokens=9, default_max_tokens=9), "a b c d", {}, 4),
        (an_engine(), "a b c d e f g h", {}, 0),
    ],
)
async def test_limits(engine, text, sampling, length):
    """The request's limit, the default and the context all end an answer with `length`."""
    ended = (await events_of(engine, text, **sampling))[-1]

    assert ended.finish_reason is FinishReason.LENGTH
    assert ended.usage.tokens_output == length


async def test_too_long():
    """What does not fit is refused before anything."""
    with pytest.raises(PromptTooLong):
        await events_of(an_engine(), "a b c d e f g h i")


async def test_completion_is_the_same():
    """A text is answered like a conversation."""
    prompt = Prompt("j", 1, "m", operation=Operation.COMPLETION, inputs=("a b",))

    assert [event async for event in an_engine().generate(prompt)] == await events_of(an_engine())


async def embeddings_of(engine, *inputs):
    prompt = Prompt("j", 1, "m", operation=Operation.EMBEDDING, inputs=inputs)
    return [event async for event in engine.generate(prompt)]


async def test_vectors_are_made_from_the_text():
    """One for each input, of length 1, always the same for the same text."""
    accepted, first, second, third, ended = await embeddings_of(an_engine(), "a b", "c", "a b")

    assert accepted == Accepted()
    assert [each.index for each in (first, second, third)] == [0, 1, 2]
    assert first.values == third.values != second.values
    assert isinstance(first, Embedding)
    assert math.hypot(*first.values) == pytest.approx(1)
    assert ended == Ended(FinishReason.STOP, Usage(5, 0))


async def test_input_that_is_too_long():
    """Each has the whole context for itself."""
    await embeddings_of(an_engine(), "a b c d e f g h", "a b c d e f g h")
    with pytest.raises(PromptTooLong):
        await embeddings_of(an_engine(), "a", "a b c d e f g h i")


async def test_failure_on_demand():
    """A prompt with the marker fails after a token; without a marker nothing does."""
    with pytest.raises(EngineFailed):
        await events_of(an_engine(fail_marker="BOOM"), "BOOM")
    with pytest.raises(EngineFailed):
        await embeddings_of(an_engine(fail_marker="BOOM"), "a", "BOOM")
    assert await events_of(an_engine(), "BOOM")


async def test_tokens_are_words():
    """Counting agrees with the answers."""
    assert await an_engine().count_tokens("a b  c") == 3
