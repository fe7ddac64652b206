"""What the use cases need from the outside, in their own words."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

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
        """Give `Started`, deltas and `Finished`. Closing the generator stops the target.

        Raises:
            RanNothing: It provably ran nothing: full, away, or the prompt was refused.
                Only before `Started`.
            WorkerLost: It went away, and may have run.
            ExecutionFailed: It failed.
        """
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

    def executed(self, target: str, outcome: str) -> None:
        """Count one dispatch: `stop length cancelled released lost failed`."""
        ...
