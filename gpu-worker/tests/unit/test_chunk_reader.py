"""What llama.cpp streams, as events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_worker.adapters.chunk_reader import ChunkReader
from gpu_worker.domain.errors import EngineFailed, PromptRefused, PromptTooLong
from gpu_worker.domain.generation import Accepted, Delta, Ended, FinishReason, Usage

PROGRESS = {"choices": [{"delta": {"role": "assistant", "content": None}}], "timings": {}}


def text(content, so_far=None):
    timings = {} if so_far is None else {"timings": {"predicted_n": so_far}}
    return {"choices": [{"finish_reason": None, "delta": {"content": content}}], **timings}


def last(reason):
    return {"choices": [{"finish_reason": reason, "delta": {}}]}


def usage(completion, prompt=3, **details):
    return {
        "choices": [],
        "usage": {
            "completion_tokens": completion,
            "prompt_tokens": prompt,
            "prompt_tokens_details": details,
        },
    }


def read(*chunks):
    reader = ChunkReader()
    return [event for chunk in chunks for event in reader.read(chunk)]


def test_answer():
    """Progress accepts the prompt; text, reason and usage follow."""
    events = read(
        PROGRESS,
        PROGRESS,
        text("a", 1),
        text("b", 2),
        last("length"),
        usage(2, cached_tokens=1),
    )

    assert events == [
        Accepted(),
        Delta("a", 1),
        Delta("b", 1),
        Ended(FinishReason.LENGTH, Usage(3, 2, 1)),
    ]


def test_continued_text():
    """The completion API has its own word for text, and says reason and usage in one."""
    end = {"choices": [{"finish_reason": "length", "text": ""}], "usage": usage(2)["usage"]}

    assert read(
        {"choices": [{"text": "", "finish_reason": None}]},
        {"choices": [{"text": "a", "finish_reason": None}], "timings": {"predicted_n": 2}},
        end,
    ) == [Accepted(), Delta("a", 2), Ended(FinishReason.LENGTH, Usage(3, 2))]


def test_character_of_several_tokens():
    """A character made of three tokens counts three."""
    assert Delta("🎉", 3) in read(PROGRESS, text("a", 1), text("🎉", 4))


def test_token_without_text_is_not_lost():
    """The token that ends an answer is a delta without text."""
    assert read(text("a", 1), last("stop"), usage(2)) == [
        Accepted(),
        Delta("a", 1),
        Delta("", 1),
        Ended(FinishReason.STOP, Usage(3, 2)),
    ]


def test_without_timings_a_chunk_is_a_token():
    """An engine that does not count is believed chunk by chunk, and then by its usage."""
    events = read(text("a"), text("b"), last("stop"), usage(5))

    assert [event.tokens for event in events if isinstance(event, Delta)] == [1, 1, 3]


@given(st.lists(st.integers(1, 4)), st.integers(0, 3))
def test_deltas_add_up_to_the_usage(steps, silent):
    """Whatever tokens chunks hold, their sum is the usage."""
    total, chunks = 0, []
    for step in steps:
        total += step
        chunks.append(text("x", total))
    events = read(*chunks, last("stop"), usage(total + silent))

    counted = sum(event.tokens for event in events if isinstance(event, Delta))
    assert counted == total + silent


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            {"type": "exceed_context_size_error", "n_prompt_tokens": 9, "n_ctx": 4},
            PromptTooLong,
        ),
        ({"type": "exceed_context_size_error"}, PromptTooLong),
        ({"type": "invalid_request_error", "message": "secret"}, PromptRefused),
        ({"type": "server_error", "message": "secret"}, EngineFailed),
        ({}, EngineFailed),
    ],
)
def test_errors_are_named(error, expected):
    """llama.cpp's error becomes ours, without its words."""
    with pytest.raises(expected) as caught:
        read({"error": error})

    assert "secret" not in caught.value.message
