"""A job and the only ways its state may change. The README draws them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from job_service.domain.charge import (
    Terms,
    Usage,
    UsageSource,
    counted_usage,
    judge_usage,
    prompt_usage,
)
from job_service.domain.decision import RouteDecision
from job_service.domain.errors import JobAlreadyFinished, JobNotFinished, JobNotRetryable
from job_service.domain.execution import (
    TARGET_UNAVAILABLE,
    Dispatching,
    ExecutionError,
    FinishReason,
    Progress,
    Verdict,
)
from job_service.domain.job_state import CLAIMABLE_STATES, JobState
from job_service.domain.retry_policy import RetryPolicy
from job_service.domain.specification import JobKind, JobSpecification

AMBIGUOUS: Final = "AMBIGUOUS"
INTERRUPTED: Final = "INTERRUPTED"
LOST_TOO_OFTEN: Final = "LOST_TOO_OFTEN"


class IllegalTransition(Exception):
    """A bug of ours: this state can't change that way."""

    def __init__(self, job: Job, change: str) -> None:
        super().__init__(f"job {job.id} is {job.state} and can't be {change}")


@dataclass(frozen=True, slots=True)
class BudgetScope:
    """Something whose budget a job uses."""

    kind: str
    scope_id: str
    owner_user_id: str
    default_cap: bool


@dataclass(frozen=True, slots=True)
class Dispatch:
    """An announced paid target: from `Go` until `Released` it may have cost money."""

    target: str
    client_task_id: str


@dataclass(frozen=True, slots=True)
class Job:
    """One job as it is stored. Every change returns a new value.

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

    # -- admission ---------------------------------------------------------------------------

    def with_terms(self, terms: Terms) -> Job:
        """Return this job with what it is going to be held for. Terms never change."""
        self._only_from("given terms", JobState.ADMITTING, JobState.BLOCKED)
        if self.terms is not None:
            raise IllegalTransition(self, "given other terms")
        return replace(self, terms=terms)

    def admission_resumed(self, lease_token: str) -> Job:
        """Return this job in the hands of whoever repeats its admission."""
        self._only_from("admitted again", JobState.ADMITTING)
        return replace(self, lease_token=lease_token)

    def admitted(self, period: str, lease_token: str) -> Job:
        """Return this job with its hold: waiting, or running at once for a caller who waits."""
        self._only_from("admitted", JobState.ADMITTING, JobState.BLOCKED)
        held = replace(self, period=period, failure_reason=None, last_error=None)
        if self.is_queued:
            return replace(held, state=JobState.PENDING, lease_token=None)
        return replace(
            held, state=JobState.RUNNING, attempt=self.attempt + 1, lease_token=lease_token
        )

    def refused(self, reason: str, message: str) -> Job:
        """Return this job without a hold: blocked, or failed where a caller waits."""
        self._only_from("refused", JobState.ADMITTING, JobState.BLOCKED)
        if self.is_queued:
            return replace(
                self,
                state=JobState.BLOCKED,
                lease_token=None,
                failure_reason=reason,
                last_error=message,
            )
        return self._failed(reason, message)

    def rejected(self, reason: str, message: str) -> Job:
        """Return this job failed before anything was held or run for it."""
        self._only_from("rejected", JobState.ADMITTING, JobState.BLOCKED)
        return self._failed(reason, message)

    # -- execution ---------------------------------------------------------------------------

    def claimed(self, lease_token: str) -> Job:
        """Return this job leased for its next attempt."""
        self._only_from("claimed", *CLAIMABLE_STATES)
        if not self.is_queued:
            raise IllegalTransition(self, "claimed: its caller is gone")
        return replace(
            self,
            state=JobState.RUNNING,
            attempt=self.attempt + 1,
            lease_token=lease_token,
            **_NOTHING_RAN_YET,
        )

    def dispatched(self, dispatching: Dispatching) -> Job:
        """Return this job marked: from now on its attempt may cost money."""
        self._only_from("dispatched", JobState.RUNNING)
        return replace(self, dispatch=Dispatch(dispatching.target, dispatching.client_task_id))

    def released(self) -> Job:
        """Return this job unmarked: the dispatched target provably ran nothing."""
        self._only_from("released", JobState.RUNNING)
        return replace(self, dispatch=None)

    def completed(self, progress: Progress) -> Job:
        """Return this job answered and charged."""
        self._only_from("completed", JobState.RUNNING)
        finished = progress.finished
        if finished is None:
            raise IllegalTransition(self, "completed without an end")
        known = self.noting(progress)
        usage, source = judge_usage(
            finished.usage, self.agreed, self.specification.content_bytes, progress.tokens_counted
        )
        return replace(
            known._charged(usage, source),
            state=JobState.COMPLETED,
            finish_reason=finished.finish_reason,
            result_text=progress.text,
            result_embeddings=self._embeddings(progress),
            failure_reason=None,
        )

    def _embeddings(self, progress: Progress) -> bytes | None:
        if not self.specification.makes_vectors:
            return None
        return progress.embeddings(len(self.specification.inputs))

    def is_answered_by(self, progress: Progress) -> bool:
        """Tell whether an attempt came to its end with all that was asked for."""
        if progress.finished is None:
            return False
        return not self.specification.makes_vectors or self._embeddings(progress) is not None

    def noting(self, progress: Progress) -> Job:
        """Return this job with how far its attempt has come."""
        started = progress.started
        return replace(
            self,
            decision=progress.decision or self.decision,
            executed_target=started.target if started else self.executed_target,
            executed_model=started.model if started else self.executed_model,
            tokens_counted=progress.tokens_counted,
        )

    def handed_back(self, delay_seconds: float) -> Job:
        """Return this job waiting again, as if this attempt had not been."""
        self._only_from("handed back", JobState.RUNNING)
        if self.dispatch is not None or not self.is_queued:
            raise IllegalTransition(self, "handed back")
        return replace(
            self,
            state=JobState.PENDING,
            lease_token=None,
            delay_seconds=delay_seconds,
            **_NOTHING_RAN_YET,
        )

    def stopped(self, progress: Progress) -> Job:
        """Return this job cancelled as its tenant wished, charged for what was made.

        A paid target that had started has read the prompt, and we pay for that: so does whoever
        left before its first word.
        """
        self._only_from("stopped", JobState.RUNNING)
        known = self.noting(progress)
        if known.dispatch is None or progress.started is None or known.tokens_counted > 0:
            return known._cancelled(progress.text)
        read = prompt_usage(known.agreed, known.specification.content_bytes)
        return known._charged(read, UsageSource.COUNTED)._ended_by_tenant(progress.text)

    def abandoned(self, progress: Progress) -> Job:
        """Return this job as a replica leaves it that has to stop now."""
        self._only_from("abandoned", JobState.RUNNING)
        known = self.noting(progress)
        if known.dispatch is not None and (known.is_queued or known.tokens_counted == 0):
            return known._ambiguous()
        if known.is_queued:
            return self.handed_back(0)
        return known._interrupted(progress.text)

    def errored(
        self, error: ExecutionError, progress: Progress, policy: RetryPolicy, jitter: float = 1.0
    ) -> Job:
        """Return this job after an attempt that ended without an answer.

        Args:
            error: Why it ended.
            progress: How far it had come.
            policy: How often to try again.
            jitter: Factor on every delay, so that jobs that failed together return apart.
        """
        self._only_from("errored", JobState.RUNNING)
        known = self.noting(progress)
        if not self.is_queued:
            return known._failed_in_front_of_caller(error, progress)
        if known.dispatch is not None and not error.is_unpaid:
            return known._ambiguous(error.message)
        cleared = replace(known, dispatch=None)
        verdict = error.verdict(started=progress.started is not None)
        if verdict is Verdict.WAIT:
            return cleared._waiting(error, progress, policy, jitter)
        if verdict is Verdict.LOST:
            return cleared._lost(error.message, policy)
        if verdict is Verdict.FINAL:
            return cleared._failed(error.reason, error.message)
        return cleared._retried(error, policy, jitter)

    # -- from outside ------------------------------------------------------------------------

    def cancellation_requested(self) -> Job:
        """Return this job cancelled, or, while it runs, marked for its lease holder to stop.

        Raises:
            JobAlreadyFinished: The job reached a final state before.
        """
        if self.state.is_final:
            raise JobAlreadyFinished(self.id, self.state)
        if self.state is JobState.RUNNING:
            return replace(self, cancel_requested=True)
        return replace(
            self,
            state=JobState.CANCELLED,
            cancel_requested=True,
            lease_token=None,
            failure_reason=None,
            charge_nanousd=None,
        )

    def retried(self, lease_token: str) -> Job:
        """Return this job, which is over, at the beginning of a new admission.

        Only the numbers of its attempts go on. Of what it came to nothing stays here: the
        settlement and the receipt of the earlier admission have that.

        Raises:
            JobNotFinished: It is not over.
            JobNotRetryable: It never runs again.
        """
        if not self.state.is_final:
            raise JobNotFinished(self.id)
        if not self.is_queued:
            raise JobNotRetryable(self.id, "its caller is gone")
        if self.state is JobState.COMPLETED:
            raise JobNotRetryable(self.id, "it is completed")
        if self.purged_at is not None:
            raise JobNotRetryable(self.id, "its content was purged")
        return Job(
            **{name: getattr(self, name) for name in _ASKED_FOR},
            admission=self.admission + 1,
            attempt=self.attempt,
            lease_token=lease_token,
            created_at=self.created_at,
        )

    def reaped(self, policy: RetryPolicy, lease_token: str) -> Job:
        """Return this job as it goes on after its lease ran out.

        Args:
            policy: How many lost executions are too many.
            lease_token: For a repeated admission.
        """
        self._only_from("reaped", JobState.RUNNING, JobState.ADMITTING)
        if self.state is JobState.ADMITTING:
            if self.is_queued:
                return self.admission_resumed(lease_token)
            return self._failed(INTERRUPTED, "The service stopped while admitting the job.")
        if self.cancel_requested:
            return self._cancelled(None)
        if self.dispatch is not None:
            return self._ambiguous()
        if not self.is_queued:
            return self._interrupted(None)
        return self._lost("The replica that ran the job went away.", policy)

    # -- shared ------------------------------------------------------------------------------

    def _only_from(self, change: str, *states: JobState) -> None:
        if self.state not in states:
            raise IllegalTransition(self, change)

    def _charged(self, usage: Usage, source: UsageSource) -> Job:
        """Return this job with its charge; what was never started costs nothing."""
        if self.executed_target is None or self.executed_model is None:
            return replace(self, usage=Usage(0, 0), usage_source=source, charge_nanousd=0)
        target, model = self.executed_target, self.executed_model
        paid = self.dispatch is not None
        return replace(
            self,
            usage=usage,
            usage_source=source,
            charge_nanousd=self.agreed.charge(target, model, usage),
            provider_cost_nanousd=self.agreed.price_of(target, model).cost(usage) if paid else 0,
        )

    def _charged_as_counted(self) -> Job:
        """Return this job charged for what arrived; uncharged where nothing did."""
        if self.tokens_counted <= 0 or self.executed_target is None:
            return self._with_liability()
        usage = counted_usage(self.agreed, self.specification.content_bytes, self.tokens_counted)
        return self._charged(usage, UsageSource.COUNTED)

    def _with_liability(self) -> Job:
        """Return this job with what a dispatched target may ask us to pay."""
        if self.dispatch is None:
            return self
        model = self.executed_model or self.specification.model
        owed = self.agreed.worst_cost(self.dispatch.target, model)
        return replace(self, provider_cost_nanousd=owed)

    def _cancelled(self, text: str | None) -> Job:
        return self._charged_as_counted()._ended_by_tenant(text)

    def _ended_by_tenant(self, text: str | None) -> Job:
        return replace(
            self,
            state=JobState.CANCELLED,
            failure_reason=None,
            finish_reason=FinishReason.CANCELLED,
            result_text=text,
        )

    def _failed(self, reason: str, message: str) -> Job:
        return replace(self, state=JobState.FAILED, failure_reason=reason, last_error=message)

    def _ambiguous(self, message: str = "") -> Job:
        told = message or "The paid target was not heard of again."
        return self._with_liability()._failed(AMBIGUOUS, told)

    def _interrupted(self, text: str | None) -> Job:
        failed = self._charged_as_counted()._failed(
            INTERRUPTED, "The service stopped while the job ran."
        )
        return replace(failed, result_text=text)

    def _failed_in_front_of_caller(self, error: ExecutionError, progress: Progress) -> Job:
        """Return an interactive job failed: its caller got what was made, and pays for that."""
        if self.tokens_counted > 0:
            failed = self._charged_as_counted()._failed(error.reason, error.message)
            return replace(failed, result_text=progress.text)
        if self.dispatch is not None and not error.is_unpaid:
            return self._ambiguous(error.message)
        return replace(self, dispatch=None)._failed(error.reason, error.message)

    def _waiting(
        self, error: ExecutionError, progress: Progress, policy: RetryPolicy, jitter: float
    ) -> Job:
        """Return this job to be offered again.

        Soon, where the router was full or away: that passes by itself. Later and later, where
        only certain targets could take it and they can't, or asked to be left alone.
        """
        if error.reason != TARGET_UNAVAILABLE and not progress.was_dispatched:
            return replace(
                self.handed_back(policy.wait_seconds * jitter),
                last_error=error.message,
                found_full=True,
            )
        waits = 0 if progress.started else self.waits
        return replace(
            self.handed_back(policy.wait(waits, error.retry_after_seconds, jitter)),
            waits=waits + 1,
            last_error=error.message,
        )

    def _lost(self, message: str, policy: RetryPolicy) -> Job:
        lost = replace(self, waits=0, lost_count=self.lost_count + 1, last_error=message)
        if lost.lost_count >= policy.max_lost:
            return replace(lost, state=JobState.DEAD_LETTER, failure_reason=LOST_TOO_OFTEN)
        return lost.handed_back(0)

    def _retried(self, error: ExecutionError, policy: RetryPolicy, jitter: float) -> Job:
        failed = replace(self, failure_reason=error.reason, last_error=error.message)
        if self.retry_count >= self.max_retries:
            return replace(failed, state=JobState.DEAD_LETTER)
        return replace(
            failed,
            state=JobState.RETRYING,
            retry_count=self.retry_count + 1,
            waits=0,
            lease_token=None,
            delay_seconds=policy.backoff(self.retry_count) * jitter,
            **_NOTHING_RAN_YET,
        )


_NOTHING_RAN_YET: Final[dict[str, Any]] = {
    "dispatch": None,
    "tokens_counted": 0,
    "decision": None,
    "executed_target": None,
    "executed_model": None,
    "found_full": False,
}
# What a job is, whatever became of it.
_ASKED_FOR: Final = (
    "id",
    "project_id",
    "kind",
    "specification",
    "scopes",
    "max_retries",
    "origin_request_id",
    "priority",
)
