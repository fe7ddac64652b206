"""What the use cases need from the outside, in their own words.

What is stored has modules of its own: `job_ports`, `queue_ports`, `dead_letter_ports`,
`idempotency_ports`, `event_ports`; `ledger_ports` has the ledger and the outbox.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from job_service.domain.charge import PriceBook
from job_service.domain.execution import ExecutionEvent
from job_service.domain.job import Job
from job_service.domain.targets import Target
from job_service.usecases.dead_letter_ports import DeadLetterRepository
from job_service.usecases.idempotency_ports import IdempotencyRepository
from job_service.usecases.job_ports import AttemptRepository, Depths, JobRepository
from job_service.usecases.ledger_ports import ReceiptRepository, SettlementRepository
from job_service.usecases.queue_ports import QueueRepository


class AuditTrail(Protocol):
    """Who decided what. Entries commit with what they tell of, or not at all."""

    async def add(
        self, action: str, *, actor: str, subject: str, details: Mapping[str, str | int]
    ) -> None:
        """Add an entry, under the id of the current request."""
        ...


class UnitOfWork(Protocol):
    """One database transaction. Leaving it without an error commits."""

    @property
    def jobs(self) -> JobRepository: ...

    @property
    def attempts(self) -> AttemptRepository: ...

    @property
    def idempotency(self) -> IdempotencyRepository: ...

    @property
    def settlements(self) -> SettlementRepository: ...

    @property
    def receipts(self) -> ReceiptRepository: ...

    @property
    def dead_letters(self) -> DeadLetterRepository: ...

    @property
    def audit(self) -> AuditTrail: ...

    @property
    def queue(self) -> QueueRepository: ...


class UnitOfWorkFactory(Protocol):
    def __call__(self) -> AbstractAsyncContextManager[UnitOfWork]:
        """Open a transaction.

        Raises:
            Unavailable: The database is away; whether a commit was made may then be unknown.
        """
        ...


class ReceiptSigner(Protocol):
    """An Ed25519 key of ours."""

    @property
    def key_id(self) -> str:
        """The thumbprint of the public key."""
        ...

    @property
    def public_key(self) -> bytes: ...

    def sign(self, message: bytes) -> bytes: ...


class Prices(Protocol):
    def current(self) -> PriceBook:
        """Return the price book as last fetched, without a call.

        Raises:
            Unavailable: None was ever fetched.
        """
        ...

    async def refresh(self) -> None:
        """Fetch it if there is none, or only an old one.

        Raises:
            ServiceError: cost-service is away.
        """
        ...


class Targets(Protocol):
    def current(self) -> tuple[Target, ...]:
        """Return the router's targets as last fetched, without a call.

        Raises:
            Unavailable: None were ever fetched.
        """
        ...

    async def refresh(self) -> None:
        """Fetch them.

        Raises:
            ServiceError: The router is away.
        """
        ...


class ExecutionStream(Protocol):
    """One attempt at the router."""

    def events(self) -> AsyncIterator[ExecutionEvent]:
        """Give what happens. It ends early after `stop`.

        Raises:
            ServiceError: The attempt ended without an answer.
        """
        ...

    async def go(self, client_task_id: str) -> None:
        """Answer `Dispatching`: it is recorded."""
        ...

    def stop(self) -> None:
        """Stop the engine."""
        ...


class Executor(Protocol):
    """compute-router."""

    def execute(self, job: Job) -> AbstractAsyncContextManager[ExecutionStream]:
        """Start a job's current attempt; leaving the block stops whatever still runs."""
        ...


class Background(Protocol):
    """Owner of work that outlives the request it came with."""

    def start(self, work: Coroutine[Any, Any, None], *, request_id: str) -> None:
        """Run it to its end. What it raises is logged."""
        ...


class Hints(Protocol):
    """Hurries loops, here and in other replicas. Work is found without it, later."""

    def work_waits(self) -> None:
        """Say that a job became due."""
        ...

    def place_freed(self) -> None:
        """Say that this process can run another job."""
        ...

    def settlement_waits(self) -> None:
        """Say that a settlement was written."""
        ...

    def cancel_requested(self, job_id: str) -> None:
        """Say that a running job is asked to stop, wherever it runs."""
        ...


class JobMetrics(Protocol):
    def job_changed(self, kind: str, state: str) -> None: ...

    def retried(self, state: str) -> None:
        """Note that a person retried a job that had ended so."""
        ...

    def purged(self) -> None:
        """Note that a person purged a dead letter."""
        ...

    def executed(self, target: str) -> None: ...

    def lease_lost(self) -> None: ...

    def deltas_failed(self) -> None:
        """Note that the last words of an attempt could not be written, for a reason unforeseen."""
        ...

    def usage_excess(self) -> None: ...

    def settlement_refused(self) -> None: ...

    def result_refused(self) -> None: ...

    def orphan_hold(self) -> None: ...

    def depths(self, depths: Depths) -> None: ...
