"""Prompts: what may be asked of a model."""

import math

import pytest

from gpu_worker.domain.prompt import ChatMessage, Operation, Prompt, Role, Sampling
from service_kit.errors import InvalidArgument


def test_defaults_are_the_models():
    """Nothing given means nothing decided."""
    assert Sampling() == Sampling(None, None, None, None, (), None, None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tokens", 0),
        ("max_tokens", -1),
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("top_p", -0.1),
        ("top_p", 1.1),
        ("frequency_penalty", 2.1),
        ("presence_penalty", -2.1),
        ("stop", ("",)),
        ("stop", ("x" * 257,)),
        ("stop", ("x",) * 17),
    ],
)
def test_value_out_of_range_is_named(field, value):
    """The caller learns which field is wrong."""
    with pytest.raises(InvalidArgument) as caught:
        Sampling(**{field: value})

    assert caught.value.metadata == {"field": field}


@pytest.mark.parametrize(
    "values",
    [
        {"max_tokens": 1},
        {"temperature": 0, "top_p": 0},
        {"temperature": 2, "top_p": 1},
        {"frequency_penalty": -2, "presence_penalty": 2},
        {"seed": -(2**63)},
        {"stop": ("x" * 256,) * 16},
    ],
)
def test_limits_are_allowed(values):
    """The ends of each range belong to it."""
    Sampling(**values)


def test_prompt_needs_a_message():
    """An engine would invent something."""
    with pytest.raises(InvalidArgument):
        Prompt("j1", 1, "m", ())
    Prompt("j1", 1, "m", (ChatMessage(Role.USER, ""),))


HELLO = (ChatMessage(Role.USER, "hello"),)
CHAT, COMPLETION, EMBEDDING = Operation


@pytest.mark.parametrize(
    ("operation", "messages", "inputs", "field"),
    [
        (CHAT, HELLO, ("a",), "inputs"),
        (COMPLETION, HELLO, ("a",), "messages"),
        (COMPLETION, (), (), "inputs"),
        (COMPLETION, (), ("a", "b"), "inputs"),
        (COMPLETION, (), ("",), "inputs"),
        (EMBEDDING, HELLO, ("a",), "messages"),
        (EMBEDDING, (), (), "inputs"),
        (EMBEDDING, (), ("a", ""), "inputs"),
        (EMBEDDING, (), ("a",) * 257, "inputs"),
    ],
)
def test_operation_takes_what_it_is_for(operation, messages, inputs, field):
    """What the engine would leave out, or choke on, is refused."""
    with pytest.raises(InvalidArgument) as caught:
        Prompt("j1", 1, "m", messages, operation=operation, inputs=inputs)

    assert caught.value.metadata == {"field": field}


def test_inputs_within_the_limits():
    """One text to continue, as many as 256 to turn into vectors."""
    Prompt("j1", 1, "m", operation=COMPLETION, inputs=(" ",))
    Prompt("j1", 1, "m", operation=EMBEDDING, inputs=("a",) * 256)
