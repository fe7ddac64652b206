"""Overheads, measured with made-up templates in which a token is a word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_worker.adapters.template_overhead import measure_overhead
from gpu_worker.domain.errors import PromptRefused
from gpu_worker.domain.prompt import ChatMessage, Role


def count(text):
    return len(text.split())


def with_default_system(messages):
    text = "" if messages[0].role is Role.SYSTEM else "<system> be kind and good </s> "
    text += "".join(f"<{message.role}> {message.content} </s> " for message in messages)
    return text + "<assistant>"


def strict(messages):
    roles = [message.role for message in messages]
    if Role.TOOL in roles or roles[-1] is not Role.USER:
        raise PromptRefused
    return with_default_system(messages)


def nothing(messages):
    raise PromptRefused


CONVERSATIONS = st.lists(
    st.builds(ChatMessage, st.sampled_from(Role), st.sampled_from(["", "a", "a b c"])), min_size=1
)


@given(CONVERSATIONS)
def test_bound_holds_for_every_conversation(messages):
    """Words plus overhead are never fewer than what is rendered."""
    overhead = measure_overhead(with_default_system, count)

    words = sum(count(message.content) for message in messages)
    bound = overhead.prompt_tokens + len(messages) * overhead.message_tokens + words
    assert count(with_default_system(messages)) <= bound


def test_overhead_is_not_far_off():
    """Default system prompt and answer's beginning in one, each message's frame in the other."""
    overhead = measure_overhead(with_default_system, count)

    assert overhead.message_tokens == 2 + 1
    assert 5 <= overhead.prompt_tokens <= 7


def test_template_that_refuses_some_roles():
    """What a template never takes says nothing about it."""
    assert measure_overhead(strict, count).message_tokens == 2 + 1


def test_template_that_takes_nothing():
    """A model that can't chat is found out at start."""
    with pytest.raises(PromptRefused):
        measure_overhead(nothing, count)
