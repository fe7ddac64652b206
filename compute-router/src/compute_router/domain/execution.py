"""What happens while a job runs on a target."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from compute_router.domain.operation import Operation
from compute_router.domain.query import ChatMessage, RouteQuery


class FinishReason(StrEnum):
    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to choose the next token; `None` means the model's default. Targets check ranges."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    frequency_penalty: float | None = None
    presence_penalty: float | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt of a job, as job-service asks for it."""

    job_id: str
    attempt: int
    query: RouteQuery
    messages: tuple[ChatMessage, ...]
    sampling: Sampling = field(default_factory=Sampling)
    inputs: tuple[str, ...] = ()
    """In place of messages, for other operations than chat."""

    @property
    def operation(self) -> Operation:
        return self.query.operation

    @property
    def complete_query(self) -> RouteQuery:
        """The query with what the prompt tells, where it says nothing itself."""
        return self.query.with_messages(self.messages).with_inputs(self.inputs)


@dataclass(frozen=True, slots=True)
class Task:
    """An attempt as it is given to one target."""

    client_task_id: str
    model: str
    job: Job


@dataclass(frozen=True, slots=True)
class Usage:
    tokens_input: int
    tokens_output: int
    tokens_input_cached: int = 0


@dataclass(frozen=True, slots=True)
class Started:
    """A target has the prompt."""

    target: str
    model: str
    worker_id: str = ""
    model_digest: str = ""


@dataclass(frozen=True, slots=True)
class Delta:
    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Embedding:
    """The vector of one input."""

    index: int
    """Which input, from 0."""
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SignedResult:
    """What a worker vouches for with its own key. Only passed on: job-service checks it."""

    statement: bytes
    key_id: str
    signature: bytes
    public_key: bytes


@dataclass(frozen=True, slots=True)
class Finished:
    finish_reason: FinishReason
    usage: Usage | None
    """`None`: the target reported none."""
    signed_result: SignedResult | None = None
    """Of our own workers."""
    provider_response_id: str = ""
    """Of a provider's answer."""


TargetEvent = Started | Delta | Embedding | Finished


@dataclass(frozen=True, slots=True)
class Dispatching:
    """The prompt is about to be given to a paid target."""

    target: str
    client_task_id: str


@dataclass(frozen=True, slots=True)
class Released:
    """The target that was dispatched to provably ran nothing."""

    target: str
    client_task_id: str
    reason: str
