"""What an attempt tells while it runs, what it came to, and what its errors mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from job_service.domain.charge import Usage
from job_service.domain.decision import RouteDecision
from job_service.domain.vectors import is_finite
from service_kit.errors import ErrorCode


class FinishReason(StrEnum):
    """Why an answer ends."""

    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Dispatching:
    """The router is about to give the prompt to a paid target, and waits for us to note it."""

    target: str
    client_task_id: str


@dataclass(frozen=True, slots=True)
class Released:
    """The dispatched target provably ran nothing."""

    target: str
    client_task_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Started:
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
    """What one input came to: 32-bit floats, little-endian."""

    index: int
    vector: bytes


@dataclass(frozen=True, slots=True)
class SignedResult:
    """What a worker vouches for with its own key, as it came."""

    statement: bytes
    key_id: str
    signature: bytes
    public_key: bytes


@dataclass(frozen=True, slots=True)
class Finished:
    finish_reason: FinishReason
    usage: Usage | None
    signed_result: SignedResult | None = None
    provider_response_id: str = ""


ExecutionEvent = RouteDecision | Dispatching | Released | Started | Delta | Embedding | Finished


@dataclass(slots=True)
class Progress:
    """What has arrived of an attempt so far. The lease holder alone writes it."""

    decision: RouteDecision | None = None
    started: Started | None = None
    texts: list[str] = field(default_factory=list)
    vectors: dict[int, bytes] = field(default_factory=dict)
    was_dispatched: bool = False
    tokens_counted: int = 0
    finished: Finished | None = None

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def embeddings(self, inputs: int) -> bytes | None:
        """Return the vectors of so many inputs, in their order; `None` where any can't be used."""
        if self.vectors.keys() != set(range(inputs)):
            return None
        vectors = [self.vectors[index] for index in range(inputs)]
        alike = len({len(vector) for vector in vectors}) == 1 and len(vectors[0]) > 0
        return b"".join(vectors) if alike and all(map(is_finite, vectors)) else None

    def note(self, event: ExecutionEvent) -> None:
        """Take in what arrived."""
        match event:
            case RouteDecision():
                self.decision = event
            case Dispatching():
                self.was_dispatched = True
            case Started():
                self.started = event
            case Delta():
                self.texts.append(event.text)
                self.tokens_counted += max(0, event.tokens)
            case Embedding():
                self.vectors[event.index] = event.vector
            case Finished():
                self.finished = event


class Verdict(StrEnum):
    """What an execution error means for the job.

    WAIT   nothing ran, and nothing can for the moment: try again soon, as if it had not been
    LOST   whatever ran it went away: run it again at once, but not for ever
    RETRY  it ran and failed: back off, up to `max_retries`
    FINAL  it would fail again
    """

    WAIT = "wait"
    LOST = "lost"
    RETRY = "retry"
    FINAL = "final"


TARGET_UNAVAILABLE: Final = "TARGET_UNAVAILABLE"
_NOTHING_RAN: Final = frozenset(
    {"NO_CAPACITY", TARGET_UNAVAILABLE, "GO_NOT_GIVEN", "WORKER_BUSY", "WORKER_DRAINING"}
)
_LOST: Final = frozenset({"WORKER_LOST"})
_FINAL: Final = frozenset(
    {
        "PROMPT_TOO_LONG",
        "MODEL_NOT_SERVED",
        "MODEL_NOT_FOUND",
        "OPERATION_NOT_SERVED",
        "INVALID_ARGUMENT",
    }
)
_AWAY: Final = frozenset({ErrorCode.UNAVAILABLE, ErrorCode.CANCELLED, ErrorCode.ABORTED})


@dataclass(frozen=True, slots=True)
class ExecutionError:
    """Why an attempt ended without an answer."""

    reason: str
    code: ErrorCode
    message: str
    retry_after_seconds: float = 0.0
    """How long whoever refused asks to be left alone."""

    def verdict(self, *, started: bool) -> Verdict:
        """Return what to do about it, by whether the target had begun."""
        if self.reason in _FINAL or self.code is ErrorCode.INVALID_ARGUMENT:
            return Verdict.FINAL
        if self.reason in _NOTHING_RAN:
            return Verdict.WAIT
        if self.reason in _LOST:
            return Verdict.LOST
        if self.code in _AWAY:
            return Verdict.LOST if started else Verdict.WAIT
        return Verdict.RETRY

    @property
    def is_unpaid(self) -> bool:
        """Whether the router vouches that a dispatched target was not paid."""
        return self.reason in _NOTHING_RAN or self.reason in _FINAL
