"""What the use cases need from the outside, in their own words."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from gpu_worker.domain.generation import EngineEvent, Usage
from gpu_worker.domain.model import ServedModel
from gpu_worker.domain.prompt import Operation, Prompt


class Engine(Protocol):
    """Works on prompts, as many at once as it has slots."""

    def generate(self, prompt: Prompt) -> AsyncGenerator[EngineEvent, None]:
        """Give `Accepted`, deltas (or embeddings) and `Ended`.

        Closing the generator stops the engine.

        Raises:
            PromptTooLong: Before `Accepted`; nothing ran.
            PromptRefused: Before `Accepted`; nothing ran.
            EngineFailed: At any point.
        """
        ...

    async def count_tokens(self, text: str) -> int:
        """Return how many tokens the text has, without a chat template."""
        ...


@dataclass(frozen=True, slots=True)
class Announcement:
    """A worker as the router gets to know it."""

    worker_id: str
    address: str
    model: ServedModel
    slots_total: int
    slots_busy: int
    device: str
    draining: bool
    tokens_per_second: float


class WorkerRegistry(Protocol):
    """The router, as a worker sees it."""

    async def register(self, announcement: Announcement) -> timedelta:
        """Announce or renew, and return how long it holds."""
        ...

    async def deregister(self, worker_id: str) -> None: ...


class Measurements(Protocol):
    """Where finished work is counted."""

    def finished(
        self, operation: Operation, outcome: str, usage: Usage | None, seconds: float
    ) -> None:
        """Count one prompt. The outcome is one of `stop length cancelled failed refused`."""
        ...
