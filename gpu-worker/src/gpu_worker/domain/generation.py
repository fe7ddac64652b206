"""What comes out of a worker while it works on a prompt."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class FinishReason(StrEnum):
    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a finished answer; the cached ones are part of the input."""

    tokens_input: int
    tokens_output: int
    tokens_input_cached: int = 0


@dataclass(frozen=True, slots=True)
class Accepted:
    """The engine has taken the prompt: it fits and is being read."""


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the answer and the tokens it is made of.

    The text may be empty where tokens gave none, such as the one that ends an
    answer; so the sum over all deltas is the usage's `tokens_output`.
    """

    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The engine is done, and the slot may be used again."""

    finish_reason: FinishReason
    usage: Usage


@dataclass(frozen=True, slots=True)
class Embedding:
    """The vector of one input."""

    index: int
    """Which input, from 0."""
    values: tuple[float, ...]


EngineEvent = Accepted | Delta | Embedding | Ended


@dataclass(frozen=True, slots=True)
class Started:
    worker_id: str
    model: str
    model_digest: str


@dataclass(frozen=True, slots=True)
class SignedResult:
    """What this worker vouches for."""

    statement: bytes
    """Canonical JSON, as it was signed."""
    key_id: str
    signature: bytes
    public_key: bytes


@dataclass(frozen=True, slots=True)
class Finished:
    finish_reason: FinishReason
    usage: Usage
    started_at: datetime
    finished_at: datetime
    signed_result: SignedResult


GenerationEvent = Started | Delta | Embedding | Finished
