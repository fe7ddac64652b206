"""What a job is: everything that is stored of it, and what follows from that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from job_service.domain.budget_scope import BudgetScope
from job_service.domain.charge import Terms, Usage, UsageSource
from job_service.domain.decision import RouteDecision
from job_service.domain.execution import FinishReason
from job_service.domain.job_state import JobState
from job_service.domain.specification import JobKind, JobSpecification

AMBIGUOUS: Final = "AMBIGUOUS"


class IllegalTransition(Exception):
    """A bug of ours: this state can't change that way."""

    def __init__(self, job: JobRecord, change: str) -> None:
        super().__init__(f"job {job.id} is {job.state} and can't be {change}")


@dataclass(frozen=True, slots=True)
class Dispatch:
    """An announced paid target: from `Go` until `Released` it may have cost money."""

    target: str
    client_task_id: str


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One job as it is stored.

    Times are stamped by the database when a change is stored; nothing here reads a clock.
    `delay_seconds` asks for such a stamp: not to be claimed before so much time has passed.
    """

    id: str
    project_id: str
    kind: JobKind
    specification: JobSpecification
    scopes: tuple[BudgetScope, ...]
    max_retries: int
    origin_request_id: str = ""
    priority: int = 0

    state: JobState = JobState.ADMITTING
    admission: int = 1
    attempt: int = 0
    retry_count: int = 0
    lost_count: int = 0
    lease_token: str | None = None
    cancel_requested: bool = False
    dispatch: Dispatch | None = None
    delay_seconds: float = 0.0

    terms: Terms | None = None
    period: str | None = None

    tokens_counted: int = 0
    # Attempts in a row that nothing could take.
    waits: int = 0
    # Of the attempt that ends; told in its last event, not stored with the job.
    delta_count: int | None = None
    # Of the attempt that ends: there was no room for anybody. Not stored either.
    found_full: bool = False
    decision: RouteDecision | None = None
    executed_target: str | None = None
    executed_model: str | None = None

    failure_reason: str | None = None
    last_error: str | None = None
    result_text: str | None = None
    result_embeddings: bytes | None = None
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    usage_source: UsageSource | None = None
    charge_nanousd: int | None = None
    provider_cost_nanousd: int = 0

    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    next_retry_at: datetime | None = None
    lease_expires_at: datetime | None = None
    # When somebody removed what it contained.
    purged_at: datetime | None = None

    @property
    def hold_id(self) -> str:
        return f"{self.id}:{self.admission}"

    @property
    def agreed(self) -> Terms:
        """The terms of a job that has some: any that was ever held."""
        if self.terms is None:
            raise IllegalTransition(self, "priced without terms")
        return self.terms

    @property
    def is_queued(self) -> bool:
        return self.kind is JobKind.QUEUED

    @property
    def is_dead_letter(self) -> bool:
        """Whether it waits for a person to decide about it."""
        return self.state is JobState.DEAD_LETTER and self.purged_at is None

    @property
    def excess_nanousd(self) -> int:
        """What the usage cost above the hold. It is ours."""
        if self.charge_nanousd is None or self.usage is None or self.executed_target is None:
            return 0
        price = self.agreed.price_of(self.executed_target, self.executed_model or "")
        return price.cost(self.usage) - self.charge_nanousd

    @property
    def frees_its_key(self) -> bool:
        """Whether the same idempotency key may try again, because nothing ran or was charged."""
        return (
            not self.is_queued
            and self.state is JobState.FAILED
            and self.charge_nanousd is None
            and self.dispatch is None
            and self.failure_reason != AMBIGUOUS
        )

    def _only_from(self, change: str, *states: JobState) -> None:
        if self.state not in states:
            raise IllegalTransition(self, change)
