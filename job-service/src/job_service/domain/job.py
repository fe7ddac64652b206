"""The only ways a job's state may change. docs/jobs.md draws them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from job_service.domain.charge import Terms, UsageSource, judge_usage, prompt_usage
from job_service.domain.ending_job import INTERRUPTED, NOTHING_RAN_YET, EndingJob
from job_service.domain.errors import JobAlreadyFinished, JobNotFinished, JobNotRetryable
from job_service.domain.execution import Dispatching, ExecutionError, Progress, Verdict
from job_service.domain.job_record import Dispatch, IllegalTransition
from job_service.domain.job_state import CLAIMABLE_STATES, JobState
from job_service.domain.retry_policy import RetryPolicy

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


@dataclass(frozen=True, slots=True)
class Job(EndingJob):
    """One job as it is stored. Every change returns a new value."""

    # -- admission -------------------------------------------------------------------------------

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

    # -- execution -------------------------------------------------------------------------------

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
            **NOTHING_RAN_YET,
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

    # -- from outside ----------------------------------------------------------------------------

    def cancellation_requested(self) -> Job:
        """Return this job cancelled, or, while it runs, marked for its lease holder to stop.

        Raises:
            JobAlreadyFinished: The job reached a final state before.
        """
        if self.state.is_final:
            raise JobAlreadyFinished(self.id, self.state, is_dead_letter=self.is_dead_letter)
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
        if self.state is JobState.COMPLETED:
            raise JobNotRetryable(self.id, "it is completed")
        if not self.is_queued:
            raise JobNotRetryable(self.id, "its caller is gone")
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
