"""What is written down about one prompt: times, tokens, outcome; never its words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from gpu_worker.domain.errors import EngineFailed
from gpu_worker.domain.generation import Delta, Embedding, Ended, Usage
from gpu_worker.domain.prompt import Prompt
from gpu_worker.domain.result_statement import OutputDigest
from gpu_worker.usecases.ports import Measurements
from service_kit.clock import Clock
from service_kit.errors import ErrorCode, ServiceError

log = structlog.get_logger(__name__)

_REFUSALS = frozenset(
    {
        ErrorCode.INVALID_ARGUMENT,
        ErrorCode.NOT_FOUND,
        ErrorCode.RESOURCE_EXHAUSTED,
        ErrorCode.UNAVAILABLE,
    }
)


@dataclass(slots=True)
class GenerationRecord:
    """Follows one prompt from its start to its end."""

    prompt: Prompt
    clock: Clock
    measurements: Measurements
    started_at: datetime = field(init=False)
    tokens: int = 0
    output: OutputDigest = field(default_factory=OutputDigest)
    _started: float = field(init=False)
    _first_token: float | None = None
    _last_token: float = 0.0
    _ended: Ended | None = None

    def __post_init__(self) -> None:
        self.started_at = self.clock.now()
        self._started = self.clock.monotonic()

    def count(self, piece: Delta | Embedding) -> None:
        """Take note of a piece of the answer."""
        self.output.add(piece)
        if isinstance(piece, Embedding):
            return  # it took no tokens: it says nothing about the pace
        self.tokens += piece.tokens
        self._last_token = self.clock.monotonic()
        if self._first_token is None:
            self._first_token = self._last_token

    def end(self, ended: Ended) -> None:
        self._ended = ended

    @property
    def ended(self) -> Ended:
        """How the engine ended.

        Raises:
            EngineFailed: It stopped without saying so.
        """
        if self._ended is None:
            raise EngineFailed
        return self._ended

    @property
    def answering(self) -> tuple[int, float]:
        """The tokens after the first one, and the seconds that they took."""
        if self._first_token is None:
            return 0, 0.0
        return self.tokens - 1, self._last_token - self._first_token

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Log and count the outcome when the block is left."""
        outcome = "cancelled"  # a generator that is closed leaves by an exception of its own
        try:
            yield
            outcome = "stop" if self._ended is None else str(self._ended.finish_reason)
        except ServiceError as error:
            outcome = "refused" if error.code in _REFUSALS else "failed"
            raise
        except Exception:
            outcome = "failed"
            raise
        finally:
            self._write(outcome)

    def _write(self, outcome: str) -> None:
        seconds = self.clock.monotonic() - self._started
        usage: Usage | None = None if self._ended is None else self._ended.usage
        self.measurements.finished(self.prompt.operation, outcome, usage, seconds)
        log.info(
            "generation.finished",
            job_id=self.prompt.job_id,
            attempt=self.prompt.attempt,
            operation=str(self.prompt.operation),
            outcome=outcome,
            tokens_input=None if usage is None else usage.tokens_input,
            tokens_output=self.tokens if usage is None else usage.tokens_output,
            seconds=round(seconds, 3),
        )
