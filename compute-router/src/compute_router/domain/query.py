"""What a routing decision is made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from compute_router.domain.operation import Operation

AUTO: Final = "auto"


class Residency(StrEnum):
    ANY = "any"
    LOCAL_ONLY = "local_only"


@dataclass(frozen=True, slots=True)
class ChatMessage:
    role: str
    content: str


@dataclass(frozen=True, slots=True)
class RouteQuery:
    model: str
    """A model's name, or `auto`."""
    prompt: str = ""
    """The last user message; of other operations, all inputs."""
    context_characters: int = 0
    """Characters of all other messages."""
    tokens_input_bound: int = 0
    """Upper bound of the prompt's tokens."""
    max_tokens: int = 0
    """0: the model's default."""
    residency: Residency = Residency.ANY
    budget_headroom_nanousd: int | None = None
    """What the project's budget still allows; `None`: not asked."""
    operation: Operation = Operation.CHAT

    def with_messages(self, messages: Sequence[ChatMessage]) -> RouteQuery:
        """Return the query with prompt and context read from the messages, if it has none."""
        if self.prompt or not messages:
            return self
        users = [at for at, message in enumerate(messages) if message.role == "user"]
        last = users[-1] if users else len(messages) - 1
        others = sum(len(message.content) for at, message in enumerate(messages) if at != last)
        return replace(
            self,
            prompt=messages[last].content,
            context_characters=self.context_characters or others,
        )

    def with_inputs(self, inputs: Sequence[str]) -> RouteQuery:
        """Return the query with the inputs as its prompt, if it has none."""
        return self if self.prompt or not inputs else replace(self, prompt="\n".join(inputs))
