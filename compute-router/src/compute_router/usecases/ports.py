"""What the use cases need from the outside, in their own words."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from compute_router.domain.breaker import BreakerState, Outcome, Permit
from compute_router.domain.execution import TargetEvent, Task
from compute_router.domain.prices import PriceBook
from compute_router.domain.target import TargetState
from compute_router.domain.worker import Worker


class Target(Protocol):
    """A place where prompts run."""

    @property
    def name(self) -> str: ...

    @property
    def paid(self) -> bool:
        """True: every dispatch has to be recorded by the caller first."""
        ...

    def state(self) -> TargetState:
        """Return what it offers now, from what is known already."""
        ...

    def execute(self, task: Task) -> AsyncGenerator[TargetEvent, None]:
        """Give `Started`, deltas or embeddings, and `Finished`. Closing it stops the target.

        Raises:
            RanNothing: It provably ran nothing: full, away, or the prompt was refused.
                Only before `Started`.
            WorkerLost: It went away, and may have run.
            ExecutionFailed: It failed.
        """
        ...


@dataclass(frozen=True, slots=True)
class BreakerView:
    """A breaker as it looks from here."""

    state: BreakerState
    seconds_left: float = 0.0
    """Until the next call may be made; 0: it may be made now."""
    is_probed: bool = False
    """Half-open, and the one call that is let through is on its way."""
    asked_to_wait: bool = False
    """The seconds are the target's own wish."""

    @property
    def lets_through(self) -> bool:
        return self.seconds_left <= 0 and not self.is_probed


class CircuitBreaker(Protocol):
    """Keeps calls from a target that is unwell, or that wants to be left alone."""

    def view(self) -> BreakerView:
        """Return how it stands, from what is known already."""
        ...

    async def admit(self) -> Permit | None:
        """Return leave to make one call, or `None`. Its outcome has to be recorded."""
        ...

    async def record(self, permit: Permit, outcome: Outcome, wait: timedelta | None) -> None:
        """Note how a call ended, and how long the target wants to be left alone."""
        ...


class GoSignal(Protocol):
    """The caller's word that it recorded a dispatch."""

    async def wait(self, client_task_id: str) -> None:
        """Return when the caller says go.

        Raises:
            GoNotGiven: It went away, or said something else.
        """
        ...


@dataclass(frozen=True, slots=True)
class StoredWorker:
    """A worker in the shared registry, and how long its registration still holds."""

    worker: Worker
    remaining: timedelta


class WorkerStore(Protocol):
    """The registry that routers share.

    Every method raises `RedisUnavailable` (a `ServiceError`) while it is away.
    """

    async def save(self, worker: Worker, lease: timedelta) -> None: ...

    async def remove(self, worker_id: str) -> None: ...

    async def list(self) -> list[StoredWorker]: ...


class PriceSource(Protocol):
    async def get_price_book(self) -> PriceBook:
        """Return the price book that is valid now.

        Raises:
            ServiceError: cost-service is away.
        """
        ...


class Measurements(Protocol):
    """Where decisions and executions are counted."""

    def decided(self, target: str, reason: str) -> None: ...

    def fell_back(self, from_target: str, to_target: str, reason: str) -> None:
        """Count that a prompt goes to the next target, and why the one before did not run it."""
        ...

    def executed(self, target: str, outcome: str) -> None:
        """Count one dispatch: `stop length cancelled released lost failed`."""
        ...
