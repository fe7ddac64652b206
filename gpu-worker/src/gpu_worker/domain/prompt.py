"""What a worker is asked to answer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from service_kit.errors import InvalidArgument

MAX_INPUTS: Final = 256
MAX_STOP_TEXTS: Final = 16
MAX_STOP_CHARACTERS: Final = 256


class Operation(StrEnum):
    """What is asked of a model."""

    CHAT = "chat"
    """Answer a conversation, through the chat template."""
    COMPLETION = "completion"
    """Continue one text, without a template."""
    EMBEDDING = "embedding"
    """Turn texts into vectors."""


class Role(StrEnum):
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class ChatMessage:
    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to choose the next token; `None` means the model's default.

    Raises:
        InvalidArgument: A value is outside of its range.
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    frequency_penalty: float | None = None
    presence_penalty: float | None = None

    def __post_init__(self) -> None:
        if self.max_tokens is not None and self.max_tokens < 1:
            raise InvalidArgument("max_tokens", "max_tokens must be at least 1.")
        _check_range("temperature", self.temperature, 0, 2)
        _check_range("top_p", self.top_p, 0, 1)
        _check_range("frequency_penalty", self.frequency_penalty, -2, 2)
        _check_range("presence_penalty", self.presence_penalty, -2, 2)
        if len(self.stop) > MAX_STOP_TEXTS:
            raise InvalidArgument("stop", f"There may be {MAX_STOP_TEXTS} stop texts at most.")
        if not all(1 <= len(text) <= MAX_STOP_CHARACTERS for text in self.stop):
            raise InvalidArgument("stop", f"A stop text has 1 to {MAX_STOP_CHARACTERS} characters.")


@dataclass(frozen=True, slots=True)
class Prompt:
    """One attempt of a job, as the engine gets it.

    Raises:
        InvalidArgument: It holds something else than its operation takes: messages for chat,
            one input for a completion, 1 to 256 for embeddings; no input is empty.
    """

    job_id: str
    attempt: int
    model: str
    messages: tuple[ChatMessage, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)

    operation: Operation = Operation.CHAT
    inputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.operation is Operation.CHAT:
            if not self.messages:
                raise InvalidArgument("messages", "A prompt needs at least one message.")
            if self.inputs:
                raise InvalidArgument("inputs", "A conversation has messages, not inputs.")
            return
        if self.messages:
            raise InvalidArgument("messages", f"For {self.operation}, there are no messages.")
        most = MAX_INPUTS if self.operation is Operation.EMBEDDING else 1
        if not 1 <= len(self.inputs) <= most:
            raise InvalidArgument("inputs", f"For {self.operation}, there are 1 to {most} inputs.")
        if not all(self.inputs):
            raise InvalidArgument("inputs", "An input has at least one character.")


def _check_range(field: str, value: float | None, low: float, high: float) -> None:
    # A NaN compares as false with everything, so it is refused here too.
    if value is not None and not (math.isfinite(value) and low <= value <= high):
        raise InvalidArgument(field, f"{field} must be between {low} and {high}.")
