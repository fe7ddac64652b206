"""What a refusal means: paid or not, and what may be tried next."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from compute_router.adapters.openai_refusals import Refusal, retry_after_of
from compute_router.domain.errors import ExecutionFailed, KeyRefused, RanNothing

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SECRET = "the prompt and sk-the-key"


def body(**fields) -> bytes:
    return json.dumps({"error": {"message": SECRET, **fields}}).encode()


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, "INVALID_ARGUMENT"),
        (401, "TARGET_UNAVAILABLE"),
        (402, "TARGET_UNAVAILABLE"),
        (403, "TARGET_UNAVAILABLE"),
        (404, "TARGET_UNAVAILABLE"),
        (405, "TARGET_UNAVAILABLE"),
        (409, "TARGET_UNAVAILABLE"),
        (413, "PROMPT_TOO_LONG"),
        (422, "INVALID_ARGUMENT"),
        (429, "NO_CAPACITY"),
        (501, "OPERATION_NOT_SERVED"),
        (503, "TARGET_UNAVAILABLE"),
    ],
)
def test_refused_at_the_door_is_unpaid(status, reason):
    """Another target may be tried; nothing of the provider's words is repeated."""
    error = Refusal(status, body()).error("yotta", "m", "chat")

    assert isinstance(error, RanNothing)
    assert error.reason == reason
    assert "sk-the-key" not in f"{error.message} {error.metadata}"


@pytest.mark.parametrize(
    "status", [201, 204, 301, 302, 307, 308, 408, 499, 500, 502, 504, 520, 599]
)
def test_anything_else_may_be_paid(status):
    """Nobody knows what ran behind it."""
    error = Refusal(status, body()).error("yotta", "m", "chat")

    assert isinstance(error, ExecutionFailed)
    assert error.metadata == {"target": "yotta", "cause": f"HTTP_{status}"}


@pytest.mark.parametrize(
    "raw",
    [
        b"upstream connect error or disconnect/reset before headers. reset reason: overflow",
        b"Disconnect/Reset before headers",
        b"<html>upstream prematurely closed connection</html>",
        json.dumps({"error": {"message": "reset reason: connection termination"}}).encode(),
    ],
)
def test_lost_upstream_may_be_paid(raw):
    """The proxy's 503 says nothing of what the server behind it had already."""
    error = Refusal(503, raw).error("yotta", "m", "chat")

    assert isinstance(error, ExecutionFailed)
    assert error.cause == "HTTP_503"


@pytest.mark.parametrize("status", [401, 402, 403])
def test_refused_key_is_not_tried_again_at_once(status):
    """Half a minute of rest, whoever waits; the target is not ill."""
    error = Refusal(status, body()).error("yotta", "m", "chat")

    assert isinstance(error, KeyRefused)
    assert error.wait == error.retry_after == timedelta(seconds=30)


@pytest.mark.parametrize(
    "raw",
    [
        body(code="context_length_exceeded"),
        body(type="exceed_context_size_error", code=400),
        body(code="string_above_max_length"),
        b'{"object": "error", "message": "This model\'s maximum context length is 10 tokens."}',
    ],
)
def test_too_long_is_told_from_malformed(raw):
    """By the codes of OpenAI and llama.cpp, and vLLM's sentence."""
    assert Refusal(400, raw).error("yotta", "m", "chat").reason == "PROMPT_TOO_LONG"


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (
            body(type="exceed_context_size_error", n_prompt_tokens=9, n_ctx=4),
            ": it has 9 tokens, and its model's context holds 4.",
        ),
        (
            b'{"message": "The maximum context length is 10 tokens, you asked for more."}',
            ": its model's context holds 10 tokens.",
        ),
        (body(code="context_length_exceeded"), "."),
    ],
)
def test_lengths_are_told_where_they_are_known(raw, words):
    """Numbers alone: nothing of the provider's text goes on."""
    error = Refusal(400, raw).error("yotta", "m", "chat")

    assert error.message == f"The prompt is too long for yotta{words}"


@pytest.mark.parametrize("raw", [b"", b"<html>", b"[]", b"{}", b'{"error": 3}', b"[" * 100_000])
def test_unreadable_refusal_is_still_one(raw):
    """The status alone is enough."""
    assert Refusal(400, raw).error("yotta", "m", "chat").reason == "INVALID_ARGUMENT"


def test_unknown_model_is_told_from_unknown_path():
    """Both are 404."""
    unknown = body(code="model_not_found")

    assert Refusal(404, unknown).error("yotta", "m", "chat").reason == "MODEL_NOT_SERVED"


@pytest.mark.parametrize("status", [429, 503])
def test_wish_to_wait_is_carried(status):
    """As long as the provider said; a quota without a time waits for a moment."""
    error = Refusal(status, retry_after=timedelta(seconds=7)).error("yotta", "m", "chat")
    assert error.wait == error.retry_after == timedelta(seconds=7)

    silent = Refusal(status).error("yotta", "m", "chat")
    assert silent.wait == (timedelta(seconds=2) if status == 429 else None)
    assert silent.retry_after > timedelta(0)


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("7", timedelta(seconds=7)),
        (" 7 ", timedelta(seconds=7)),
        ("3601", timedelta(hours=1)),
        ("999999999", timedelta(hours=1)),
        ("Sat, 03 Jan 2026 00:00:00 GMT", timedelta(hours=1)),
        ("Fri, 02 Jan 2026 00:00:30 GMT", timedelta(seconds=30)),
        ("Fri, 02 Jan 2026 00:00:30", timedelta(seconds=30)),
        ("Thu, 01 Jan 2026 00:00:00 GMT", None),
        ("0", None),
        ("-5", None),
        ("1.5e3", None),
        ("soon", None),
        ("9" * 5000, None),
        ("٣", timedelta(seconds=3)),
        ("", None),
    ],
)
def test_retry_after_is_read(text, wait):
    """Seconds or a date, in the future; an hour at most."""
    assert retry_after_of({"retry-after": text}, NOW) == wait


def test_no_retry_after():
    """Most say nothing."""
    assert retry_after_of({}, NOW) is None
