"""Measures what a chat template adds, with the model's own template and tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gpu_worker.domain.errors import PromptRefused
from gpu_worker.domain.model import TemplateOverhead
from gpu_worker.domain.prompt import ChatMessage, Role

_WORD = "hello"


def measure_overhead(
    render: Callable[[Sequence[ChatMessage]], str], count: Callable[[str], int]
) -> TemplateOverhead:
    """Return upper bounds over every role and pair of roles that the template takes.

    Args:
        render: Applies the template; raises `PromptRefused` where it takes no such messages.
        count: Counts tokens.
    """
    word_tokens = count(_WORD)

    def added(*roles: Role) -> int | None:
        try:
            text = render([ChatMessage(role, _WORD) for role in roles])
        except PromptRefused:
            return None
        return count(text) - len(roles) * word_tokens

    alone = {role: tokens for role in Role if (tokens := added(role)) is not None}
    if not alone:
        raise PromptRefused("The model's chat template takes no message of any role.")
    steps = [
        both - tokens
        for first, tokens in alone.items()
        for second in Role
        if (both := added(first, second)) is not None
    ]
    message_tokens = max(steps, default=max(alone.values()))
    return TemplateOverhead(
        prompt_tokens=max(0, max(alone.values()) - message_tokens),
        # Text and template may be cut differently where they meet.
        message_tokens=message_tokens + 1,
    )
