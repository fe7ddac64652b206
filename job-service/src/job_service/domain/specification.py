"""What is to be run: a prompt, a model's name and how to sample."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final

from service_kit.errors import InvalidArgument

AUTO: Final = "auto"
MAX_MESSAGES: Final = 1_000
MAX_INPUTS: Final = 256
MAX_PROMPT_BYTES: Final = 1024 * 1024
MAX_TOKENS_LIMIT: Final = 1_000_000
MAX_STOP_TEXTS: Final = 16
MAX_NAME_CHARACTERS: Final = 255

ROLES: Final = frozenset({"system", "user", "assistant", "tool"})


class JobKind(StrEnum):
    """Who waits for the job: nobody, or a caller on an open connection."""

    QUEUED = "queued"
    INTERACTIVE = "interactive"


TYPES: Final = {
    JobKind.QUEUED: frozenset({"generation_v2", "implement_feature"}),
    JobKind.INTERACTIVE: frozenset({"chat_completion", "completion", "embedding"}),
}


class Operation(StrEnum):
    """What is asked of a model."""

    CHAT = "chat"
    COMPLETION = "completion"
    EMBEDDING = "embedding"


_OPERATIONS: Final = {
    "completion": Operation.COMPLETION,
    "embedding": Operation.EMBEDDING,
}


def operation_of(type_: str) -> Operation:
    """Return what a job of this type asks of its model."""
    return _OPERATIONS.get(type_, Operation.CHAT)


class Residency(StrEnum):
    """Where a prompt may go."""

    ANY = "any"
    LOCAL_ONLY = "local_only"


@dataclass(frozen=True, slots=True)
class Message:
    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to choose the next token. `max_tokens` 0 and `None` mean the model's defaults."""

    max_tokens: int = 0
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    frequency_penalty: float | None = None
    presence_penalty: float | None = None


@dataclass(frozen=True, slots=True)
class JobSpecification:
    type: str
    model: str
    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    residency: Residency = Residency.ANY
    inputs: tuple[str, ...] = ()
    """In place of messages, where no conversation is to be answered."""

    @property
    def operation(self) -> Operation:
        return operation_of(self.type)

    @property
    def makes_vectors(self) -> bool:
        """Whether vectors are made rather than tokens."""
        return self.operation is Operation.EMBEDDING

    @property
    def prompt_bytes(self) -> int:
        """UTF-8 bytes of all contents and roles. No tokenizer makes more tokens than bytes."""
        return self.content_bytes + sum(len(each.role.encode()) for each in self.messages)

    @property
    def content_bytes(self) -> int:
        texts = (*(each.content for each in self.messages), *self.inputs)
        return sum(len(text.encode()) for text in texts)

    @property
    def prompt(self) -> str:
        """The last user message, or all inputs: by this, complexity is judged."""
        if self.inputs:
            return "\n".join(self.inputs)
        return self.messages[self._prompt_index].content

    @property
    def context_characters(self) -> int:
        """Characters of all other messages."""
        if self.inputs:
            return 0
        index = self._prompt_index
        return sum(len(each.content) for at, each in enumerate(self.messages) if at != index)

    @property
    def _prompt_index(self) -> int:
        users = [at for at, each in enumerate(self.messages) if each.role == "user"]
        return users[-1] if users else len(self.messages) - 1

    def fingerprint(self, *further: object) -> str:
        """Return a digest that two specifications share only if they are the same."""
        values = asdict(self)
        if not self.inputs:
            # As it was written before there were inputs: keys from then are still known.
            del values["inputs"]
        text = json.dumps([values, *further], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def check(self, kind: JobKind) -> None:
        """Refuse what no target could run.

        Raises:
            InvalidArgument: It names the field.
        """
        _demand(
            self.type in TYPES[kind],
            "type",
            f"The type must be one of: {', '.join(sorted(TYPES[kind]))}.",
        )
        _check_name("model", self.model)
        if self.operation is Operation.CHAT:
            self._check_messages()
        else:
            self._check_inputs()
        self._check_sampling()

    def _check_inputs(self) -> None:
        _demand(not self.messages, "messages", f"A job of type {self.type} has no messages.")
        most = 1 if self.operation is Operation.COMPLETION else MAX_INPUTS
        _demand(
            1 <= len(self.inputs) <= most,
            "inputs",
            "Exactly one input is needed." if most == 1 else f"1 to {most} inputs are needed.",
        )
        _demand(
            self.prompt_bytes <= MAX_PROMPT_BYTES,
            "inputs",
            f"All inputs together may have at most {MAX_PROMPT_BYTES} bytes.",
        )
        for at, text in enumerate(self.inputs):
            _demand(
                bool(text) and "\0" not in text,
                f"inputs[{at}]",
                "An input must have at least one character, and no NUL.",
            )

    def _check_messages(self) -> None:
        _demand(not self.inputs, "inputs", f"A job of type {self.type} has messages, no inputs.")
        _demand(bool(self.messages), "messages", "At least one message is needed.")
        _demand(
            len(self.messages) <= MAX_MESSAGES,
            "messages",
            f"At most {MAX_MESSAGES} messages are taken.",
        )
        _demand(
            self.prompt_bytes <= MAX_PROMPT_BYTES,
            "messages",
            f"All messages together may have at most {MAX_PROMPT_BYTES} bytes.",
        )
        for at, message in enumerate(self.messages):
            _demand(
                message.role in ROLES,
                f"messages[{at}].role",
                f"The role must be one of: {', '.join(sorted(ROLES))}.",
            )
            _demand(
                "\0" not in message.content,
                f"messages[{at}].content",
                "The content must not hold NUL characters.",
            )

    def _check_sampling(self) -> None:
        sampling = self.sampling
        _check_range("sampling.max_tokens", sampling.max_tokens, 0, MAX_TOKENS_LIMIT)
        _check_range("sampling.temperature", sampling.temperature, 0, 2)
        _check_range("sampling.top_p", sampling.top_p, 0, 1)
        _check_range("sampling.frequency_penalty", sampling.frequency_penalty, -2, 2)
        _check_range("sampling.presence_penalty", sampling.presence_penalty, -2, 2)
        _demand(
            len(sampling.stop) <= MAX_STOP_TEXTS,
            "sampling.stop",
            f"At most {MAX_STOP_TEXTS} stop texts are taken.",
        )
        for text in sampling.stop:
            _check_name("sampling.stop", text)


def _demand(condition: bool, field: str, message: str) -> None:
    if not condition:
        raise InvalidArgument(field, message)


def _check_name(field: str, text: str) -> None:
    _demand(
        0 < len(text) <= MAX_NAME_CHARACTERS and "\0" not in text,
        field,
        f"This must be 1 to {MAX_NAME_CHARACTERS} characters without NUL.",
    )


def _check_range(field: str, value: float | None, least: float, most: float) -> None:
    _demand(
        value is None or (math.isfinite(value) and least <= value <= most),
        field,
        f"This must be a number from {least} to {most}.",
    )
