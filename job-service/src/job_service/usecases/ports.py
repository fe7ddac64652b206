"""What the use cases need from the outside, in their own words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from job_service.domain.attempt import AttemptEnd
from job_service.domain.charge import PriceBook
from job_service.domain.dead_letter import DeadLetterFilter, Evidence
from job_service.domain.execution import ExecutionEvent, Progress
from job_service.domain.job import Job
from job_service.domain.job_state import JobState
from job_service.domain.receipt import Receipt, ReceiptKey
from job_service.domain.settlement import Settlement
from job_service.domain.targets import Target
from job_service.usecases.queue_ports import QueueRepository


@dataclass(frozen=True, slots=True)
class JobPosition:
    """A place in a project's list of jobs, newest first."""

    created_at: datetime
    job_id: str


@dataclass(frozen=True, slots=True)
class DeadLetterPosition:
    """A place among a project's dead letters, in the order in which they died."""

    completed_at: datetime
    job_id: str


@dataclass(frozen=True, slots=True)
class Depths:
    """How much waits, for metrics."""

    by_state: dict[str, int]
    unsent_settlements: int
    dead_letters: int


class JobRepository(Protocol):
    """Jobs. Every time is the database's."""

    async def add(self, job: Job) -> Job:
        """Store a new job with a fresh lease, and return it with its times."""
        ...

    async def save(self, was: Job, now: Job) -> Job | None:
        """Store what differs between `was` and `now`, and return `now` with its times.

        Return `None`, and change nothing, where the stored job's state, admission or lease token
        (without one, its attempt) is no longer that of `was`. A new lease token gets a fresh
        lease. What a renewal or a cancel request wrote in between stays.
        """
        ...

    async def find(self, project_id: str, job_id: str) -> Job | None:
        """Return a project's job without its messages and vectors."""
        ...

    async def find_anywhere(self, job_id: str) -> Job | None:
        """Return a job of any project without its messages; for our own duties only."""
        ...

    async def find_several(self, job_ids: Sequence[str]) -> Sequence[Job]:
        """Return those of the jobs that there are, each as `find_anywhere`."""
        ...

    async def find_embeddings(self, job_id: str) -> bytes | None:
        """Return the vectors that a job of any project came to, one after the other."""
        ...

    async def lock(self, job_id: str) -> Job | None:
        """Return a job of any project, and keep others from changing it meanwhile.

        It is whole but for its vectors.
        """
        ...

    async def list_page(
        self, project_id: str, state: JobState | None, limit: int, after: JobPosition | None
    ) -> Sequence[Job]:
        """Return a project's jobs, newest first, without messages and results."""
        ...

    async def claim(self, limit: int, after: str = "") -> Sequence[Job]:
        """Lease up to `limit` queued jobs that are due, and return them.

        Each comes from the project that has the fewest running by then; among those with equally
        many, projects follow each other in the order of their ids, the next one to `after` first.
        Within a project: highest priority, then oldest.
        """
        ...

    async def renew(self, job: Job, progress: Progress) -> bool | None:
        """Prolong a lease and store how far the attempt is.

        Return whether cancellation was asked for, or `None` where the lease is no longer ours.
        """
        ...

    async def lock_lapsed(self, limit: int) -> Sequence[Job]:
        """Return jobs whose lease is over, locked; those that others have locked are left out."""
        ...

    async def lapsed_count(self) -> int:
        """Return how many leases are over, without waiting for anybody."""
        ...

    async def depths(self) -> Depths:
        """Count what is unfinished, and what waits for a person."""
        ...


class DeadLetterRepository(Protocol):
    """Jobs that Weir gave up on and nobody has purged."""

    async def list_page(
        self, which: DeadLetterFilter, limit: int, after: DeadLetterPosition | None
    ) -> Sequence[Job]:
        """Return dead letters, those that died last first, without messages and results."""
        ...

    async def oldest(
        self,
        which: DeadLetterFilter,
        limit: int,
        after: DeadLetterPosition | None,
        died_by: datetime | None,
    ) -> Sequence[DeadLetterPosition]:
        """Return up to `limit` dead letters, in the order in which they died.

        Those up to `after`, and those that died later than `died_by`, are left out.
        """
        ...

    async def evidence(self, job_id: str, limit: int) -> Evidence:
        """Return what is known of a job of any project: `limit` attempts and changes at most."""
        ...

    async def purge(self, job_id: str) -> None:
        """Remove for good what a locked dead letter contained, and every text about it."""
        ...


class AuditTrail(Protocol):
    """Who decided what. Entries commit with what they tell of, or not at all."""

    async def add(
        self, action: str, *, actor: str, subject: str, details: Mapping[str, str | int]
    ) -> None:
        """Add an entry, under the id of the current request."""
        ...


class AttemptRepository(Protocol):
    async def open(self, job: Job) -> None:
        """Note that a job's current attempt began."""
        ...

    async def note_dispatch(self, job: Job) -> None:
        """Note that the current attempt was dispatched to a paid target, or released by it."""
        ...

    async def close(self, end: AttemptEnd) -> None: ...


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    project_id: str
    route: str
    key: str


@dataclass(frozen=True, slots=True)
class Reservation:
    """The job that a key belongs to, and a digest of the request that made it.

    `job_id` is empty where the request is about many jobs. The store tells since when it is so.
    """

    job_id: str
    body_hash: str
    taken_at: datetime | None = field(default=None, compare=False)


class IdempotencyRepository(Protocol):
    async def find(self, key: IdempotencyKey) -> Reservation | None: ...

    async def reserve(self, key: IdempotencyKey, wanted: Reservation) -> Reservation:
        """Take the key, and return who has it now: us, or whoever was first."""
        ...

    async def jobs_under(self, key: IdempotencyKey) -> Sequence[str]:
        """Return the jobs that have a key made of this one and their id, first taken first."""
        ...

    async def release(self, job_id: str) -> None:
        """Let a job's key go, so that it can be used again."""
        ...


class SettlementRepository(Protocol):
    """The outbox."""

    async def add(self, settlement: Settlement, receipt: Receipt | None = None) -> bool:
        """Add a settlement unless its hold has one; tell whether it was added.

        The receipt of the same end goes along, unless its admission has one.
        """
        ...

    async def claim(self, limit: int, lease_seconds: float) -> Sequence[Settlement]:
        """Return unsent settlements that are due, and keep them from others for a while."""
        ...

    async def mark_sent(self, hold_ids: Sequence[str]) -> None: ...

    async def postpone(self, hold_id: str, error: str, seconds: float) -> None:
        """Note why a settlement was not taken, and when to try again."""
        ...

    async def resend(self, hold_id: str, sent_before_seconds: float) -> bool:
        """Send a settlement again that was sent long ago; tell whether there is such a one."""
        ...


class ReceiptRepository(Protocol):
    """Receipts and public keys. What is here stays as it is."""

    async def keep_key(self, key: ReceiptKey) -> str:
        """Keep a key for good, and return whose it is: it may have had an owner before."""
        ...

    async def find(self, job_id: str) -> Receipt | None:
        """Return the receipt of a job of any project: that of its newest admission."""
        ...

    async def find_keys(self, key_ids: Sequence[str]) -> Sequence[ReceiptKey]: ...

    async def list_keys(self) -> Sequence[ReceiptKey]:
        """Return all keys, newest first."""
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


@dataclass(frozen=True, slots=True)
class PlacedHold:
    amount_nanousd: int
    period: str


@dataclass(frozen=True, slots=True)
class OpenHold:
    hold_id: str
    created_at: datetime


class Ledger(Protocol):
    """cost-service's ledger."""

    async def place_hold(self, job: Job) -> PlacedHold:
        """Hold a job's worst case; the same hold again gives the same answer.

        Raises:
            ServiceError: `BUDGET_EXCEEDED`, `NO_BUDGET`, `HOLD_SETTLED`, or it is away.
        """
        ...

    async def settle(self, settlement: Settlement) -> bool:
        """Post or void a hold. Tell whether this changed anything."""
        ...

    async def open_holds(self, min_age_seconds: float) -> Sequence[OpenHold]:
        """Return holds that nobody settled for so long."""
        ...


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
