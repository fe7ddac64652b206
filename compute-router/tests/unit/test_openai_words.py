"""Requests as a provider gets them, and answers that nobody can trust."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from weir.router.v1 import execution_service_pb2 as pb

from compute_router.adapters.openai_words import (
    BadAnswer,
    Piece,
    body_of,
    embeddings_of,
    object_of,
    piece_of,
    response_id_of,
    usage_of,
)
from compute_router.domain.execution import Embedding, FinishReason, Job, Sampling, Task, Usage
from compute_router.domain.operation import Operation
from compute_router.domain.query import ChatMessage, RouteQuery

STREAMED = {"stream": True, "stream_options": {"include_usage": True}}


def a_task(operation: Operation, sampling: Sampling | None = None) -> Task:
    query = RouteQuery("auto", operation=operation)
    messages = (ChatMessage("system", "s"), ChatMessage("user", "p"))
    return Task("t", "m", Job("j", 1, query, messages, sampling or Sampling(), inputs=("a",)))


def test_chat_is_asked_for():
    """Messages as they are, a limit always, nothing that was not set."""
    assert body_of(a_task(Operation.CHAT), 256) == {
        "model": "m",
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "p"}],
        "max_tokens": 256,
        **STREAMED,
    }


def test_every_parameter_is_passed_on():
    """Zeros are values."""
    sampling = Sampling(5, 0.0, 0.0, 0, ("x",), 0.0, -1.0)

    assert body_of(a_task(Operation.COMPLETION, sampling), 256) == {
        "model": "m",
        "prompt": "a",
        "max_tokens": 5,
        "temperature": 0.0,
        "top_p": 0.0,
        "seed": 0,
        "stop": ["x"],
        "frequency_penalty": 0.0,
        "presence_penalty": -1.0,
        **STREAMED,
    }


def test_embeddings_are_asked_for():
    """Inputs alone: nothing is generated."""
    assert body_of(a_task(Operation.EMBEDDING), 256) == {
        "model": "m",
        "input": ["a"],
        "encoding_format": "float",
    }


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 2}, Usage(3, 2)),
        ({"prompt_tokens": 0, "completion_tokens": 0}, Usage(0, 0)),
        ({"prompt_tokens": 3, "completion_tokens": 0}, Usage(3, 0)),
        (
            {
                "prompt_tokens": 3,
                "completion_tokens": 2,
                "prompt_tokens_details": {"cached_tokens": 1},
            },
            Usage(3, 2, 1),
        ),
        (
            {
                "prompt_tokens": 3,
                "completion_tokens": 2,
                "prompt_tokens_details": {"cached_tokens": 9},
            },
            Usage(3, 2),
        ),
        ({"prompt_tokens": 3}, None),
        ({"completion_tokens": 3}, None),
        ({"prompt_tokens": -1, "completion_tokens": 2}, None),
        ({"prompt_tokens": 3, "completion_tokens": -2}, None),
        ({"prompt_tokens": math.nan, "completion_tokens": 2}, None),
        ({"prompt_tokens": math.inf, "completion_tokens": 2}, None),
        ({"prompt_tokens": 1e308, "completion_tokens": 2}, None),
        ({"prompt_tokens": 3, "completion_tokens": 2**63}, None),
        ({"prompt_tokens": "3", "completion_tokens": 2}, None),
        ({"prompt_tokens": True, "completion_tokens": 2}, None),
        ({"prompt_tokens": 3.0, "completion_tokens": 2}, None),
        ({"prompt_tokens": None, "completion_tokens": 2}, None),
        ({}, None),
        ([], None),
        ("3", None),
        (3, None),
    ],
)
def test_absurd_usage_is_no_usage(usage, read):
    """Two plain numbers, zero included; everything else is left to job-service to count."""
    text = json.dumps({"choices": [], "usage": usage})

    assert piece_of(text, Operation.CHAT) == Piece(has_usage=True, usage=read)


def test_usage_of_embeddings_has_no_output():
    """Providers leave it out; one that does not is not believed."""
    assert usage_of({"prompt_tokens": 3}, has_output=False) == Usage(3, 0)
    assert usage_of({"prompt_tokens": 3, "completion_tokens": 9}, has_output=False) == Usage(3, 0)


@pytest.mark.parametrize(
    ("reason", "read"),
    [
        (None, None),
        ("stop", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("max_tokens", FinishReason.LENGTH),
        ("tool_calls", FinishReason.STOP),
        ("content_filter", FinishReason.STOP),
        ("something new", FinishReason.STOP),
        (7, FinishReason.STOP),
        ({"a": []}, FinishReason.STOP),
    ],
)
def test_every_finish_reason_is_read(reason, read):
    """One that we do not know is an end like any other."""
    text = json.dumps({"choices": [{"delta": {}, "finish_reason": reason}]})

    assert piece_of(text, Operation.CHAT).finish_reason is read


@pytest.mark.parametrize(
    ("operation", "choice", "text"),
    [
        (Operation.CHAT, {"delta": {"content": "a"}}, "a"),
        (Operation.CHAT, {"delta": {"content": None, "role": "assistant"}}, ""),
        (Operation.CHAT, {"delta": None}, ""),
        (Operation.CHAT, {}, ""),
        (Operation.CHAT, {"delta": {"content": "\ud83d"}}, "?"),
        (Operation.COMPLETION, {"text": "a"}, "a"),
        (Operation.COMPLETION, {"delta": {"content": "a"}}, ""),
    ],
)
def test_text_is_read(operation, choice, text):
    """From where the operation has it, and fit for a message of ours."""
    read = piece_of(json.dumps({"id": "c-1", "choices": [choice]}), operation)

    assert (read.text, read.response_id) == (text, "c-1")
    assert pb.ExecuteResponse(delta=pb.ExecuteResponse.Delta(text=read.text)).SerializeToString()


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        ("", "NOT_UNDERSTOOD"),
        ("<html>", "NOT_UNDERSTOOD"),
        ("[]", "NOT_UNDERSTOOD"),
        ("{}", "NOT_UNDERSTOOD"),
        ("[" * 100_000, "NOT_UNDERSTOOD"),
        ('{"choices": [], "n": ' + "9" * 5000 + "}", "NOT_UNDERSTOOD"),
        ('{"choices": 3}', "NOT_UNDERSTOOD"),
        ('{"choices": [3]}', "NOT_UNDERSTOOD"),
        ('{"choices": [{"delta": 3}]}', "NOT_UNDERSTOOD"),
        ('{"choices": [{"delta": {"content": 3}}]}', "NOT_UNDERSTOOD"),
        ('{"error": {"message": "no"}}', "ERROR_REPORTED"),
        ('{"error": "no", "choices": []}', "ERROR_REPORTED"),
    ],
)
def test_nonsense_is_named(data, cause):
    """Never a bug of ours, whatever comes."""
    with pytest.raises(BadAnswer) as caught:
        piece_of(data, Operation.CHAT)

    assert caught.value.cause == cause


SAID = ["id", "choices", "delta", "content", "text", "finish_reason", "data", "index", "embedding"]
COUNTED = ["usage", "prompt_tokens", "completion_tokens", "prompt_tokens_details"]
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*SAID, *COUNTED]), inner, max_size=5)
    ),
    max_leaves=12,
)


@given(JSON, st.sampled_from(Operation))
def test_any_json_is_read_or_named(value, operation):
    """A stranger may say anything; what we read of it is fit to be passed on."""
    text = json.dumps(value)
    try:
        piece = piece_of(text, operation)
        (piece.text + piece.response_id).encode()
    except BadAnswer:
        pass
    try:
        answer = object_of(text)
        response_id_of(answer).encode()
        embeddings_of(answer, 1)
    except BadAnswer:
        pass


@pytest.mark.parametrize("value", ["x" * 201, "a\nb", 7, None, ["a"]])
def test_unusable_response_id_is_none(value):
    """It stands in receipts: short and printable, or absent."""
    assert response_id_of({"id": value}) == ""


def vectors(*rows) -> dict:
    return {"data": [{"index": index, "embedding": values} for index, values in rows]}


def test_vectors_come_in_the_order_of_the_inputs():
    """Whatever order the provider chose."""
    answer = vectors((1, [3, 4.5]), (0, [1.0, 2.0]))

    assert embeddings_of(answer, 2) == [Embedding(0, (1.0, 2.0)), Embedding(1, (3.0, 4.5))]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"data": "x"},
        vectors(),
        vectors((0, [1.0])),
        vectors((0, [1.0]), (0, [1.0])),
        vectors((0, [1.0]), (2, [1.0])),
        vectors((0, [1.0]), (-1, [1.0])),
        vectors((0, [1.0]), ("1", [1.0])),
        vectors((0, [1.0]), (1, [1.0, 2.0])),
        vectors((0, []), (1, [])),
        vectors((0, [1.0]), (1, ["1"])),
        vectors((0, [1.0]), (1, [math.nan])),
        vectors((0, [1.0]), (1, [math.inf])),
        vectors((0, [1.0]), (1, [1e308])),
        vectors((0, [1.0]), (1, [True])),
        vectors((0, [1.0]), (1, "AAAA")),
        {"data": [3, 4]},
    ],
)
def test_vectors_that_are_none_are_named(answer):
    """All inputs get a vector of finite numbers, of one length, or none does."""
    with pytest.raises(BadAnswer):
        embeddings_of(answer, 2)
