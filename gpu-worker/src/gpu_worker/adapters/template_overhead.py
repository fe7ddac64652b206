"""Measures what a chat template adds, with the model's own template and tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from gpu_worker.domain.errors import PromptRefused
from gpu_worker.domain.model import TemplateOverhead
from gpu_worker.domain.prompt import ChatMessage, Role

_WORD: Final = "hello"
_USER: Final = (Role.USER,)


def measure_overhead(
    render: Callable[[Sequence[ChatMessage]], str], count: Callable[[str], int]
) -> TemplateOverhead:
    """Return upper bounds, from conversations of one to three messages of every role.

    What a message adds is measured before a user's message and between two; what
    every prompt has on top is the most that is left over in any of them. Templates
    refuse some orders of roles: those say nothing.

    Args:
        render: Applies the template; raises `PromptRefused` where it takes no such messages.
        count: Counts tokens.

    Raises:
        PromptRefused: The template takes none of them.
    """
    word_tokens = count(_WORD)
    added: dict[tuple[Role, ...], int] = {}
    for roles in [
        *((role,) for role in Role),
        *((role, Role.USER) for role in Role),
        *((Role.USER, role, Role.USER) for role in Role),
    ]:
        try:
            text = render([ChatMessage(role, _WORD) for role in roles])
        except PromptRefused:
            continue
        added[roles] = count(text) - len(roles) * word_tokens
    if not added:
        raise PromptRefused("The model's chat template takes no messages.")
    # Text and template may be cut differently where they meet: hence one more.
    message_tokens = 1 + max((_added_by_one(added, roles) for roles in added), default=0)
    return TemplateOverhead(
        prompt_tokens=max(
            0, *(tokens - len(roles) * message_tokens for roles, tokens in added.items())
        ),
        message_tokens=message_tokens,
    )


def _added_by_one(added: dict[tuple[Role, ...], int], roles: tuple[Role, ...]) -> int:
    """Return what one message adds, by the difference to a user's message alone."""
    others = len(roles) - 1
    if others == 0 or _USER not in added:
        return 0
    return max(0, -((added[_USER] - added[roles]) // others))
