"""How a job leaves off: what is charged, and where it goes without an answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Self

from job_service.domain.charge import Usage, UsageSource, counted_usage
from job_service.domain.execution import (
    TARGET_UNAVAILABLE,
    ExecutionError,
    FinishReason,
    Progress,
)
from job_service.domain.job_record import AMBIGUOUS, IllegalTransition, JobRecord
from job_service.domain.job_state import JobState
from job_service.domain.retry_policy import RetryPolicy

INTERRUPTED: Final = "INTERRUPTED"
LOST_TOO_OFTEN: Final = "LOST_TOO_OFTEN"

NOTHING_RAN_YET: Final[dict[str, Any]] = {
    "dispatch": None,
    "tokens_counted": 0,
    "decision": None,
    "executed_target": None,
    "executed_model": None,
    "found_full": False,
}


@dataclass(frozen=True, slots=True)
class EndingJob(JobRecord):
    """The steps of which the transitions of `Job` are made that end an attempt."""

    def handed_back(self, delay_seconds: float) -> Self:
        """Return this job waiting again, as if this attempt had not been."""
        self._only_from("handed back", JobState.RUNNING)
        if self.dispatch is not None or not self.is_queued:
            raise IllegalTransition(self, "handed back")
        return replace(
            self,
            state=JobState.PENDING,
            lease_token=None,
            delay_seconds=delay_seconds,
            **NOTHING_RAN_YET,
        )

    def _charged(self, usage: Usage, source: UsageSource) -> Self:
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

    def _charged_as_counted(self) -> Self:
        """Return this job charged for what arrived; uncharged where nothing did."""
        if self.tokens_counted <= 0 or self.executed_target is None:
            return self._with_liability()
        usage = counted_usage(self.agreed, self.specification.content_bytes, self.tokens_counted)
        return self._charged(usage, UsageSource.COUNTED)

    def _with_liability(self) -> Self:
        """Return this job with what a dispatched target may ask us to pay."""
        if self.dispatch is None:
            return self
        model = self.executed_model or self.specification.model
        owed = self.agreed.worst_cost(self.dispatch.target, model)
        return replace(self, provider_cost_nanousd=owed)

    def _cancelled(self, text: str | None) -> Self:
        return self._charged_as_counted()._ended_by_tenant(text)

    def _ended_by_tenant(self, text: str | None) -> Self:
        return replace(
            self,
            state=JobState.CANCELLED,
            failure_reason=None,
            finish_reason=FinishReason.CANCELLED,
            result_text=text,
        )

    def _failed(self, reason: str, message: str) -> Self:
        return replace(self, state=JobState.FAILED, failure_reason=reason, last_error=message)

    def _ambiguous(self, message: str = "") -> Self:
        told = message or "The paid target was not heard of again."
        return self._with_liability()._failed(AMBIGUOUS, told)

    def _interrupted(self, text: str | None) -> Self:
        failed = self._charged_as_counted()._failed(
            INTERRUPTED, "The service stopped while the job ran."
        )
        return replace(failed, result_text=text)

    def _failed_in_front_of_caller(self, error: ExecutionError, progress: Progress) -> Self:
        """Return an interactive job failed: its caller got what was made, and pays for that."""
        if self.tokens_counted > 0:
            failed = self._charged_as_counted()._failed(error.reason, error.message)
            return replace(failed, result_text=progress.text)
        if self.dispatch is not None and not error.is_unpaid:
            return self._ambiguous(error.message)
        return replace(self, dispatch=None)._failed(error.reason, error.message)

    def _waiting(
        self, error: ExecutionError, progress: Progress, policy: RetryPolicy, jitter: float
    ) -> Self:
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

    def _lost(self, message: str, policy: RetryPolicy) -> Self:
        lost = replace(self, waits=0, lost_count=self.lost_count + 1, last_error=message)
        if lost.lost_count >= policy.max_lost:
            return replace(lost, state=JobState.DEAD_LETTER, failure_reason=LOST_TOO_OFTEN)
        return lost.handed_back(0)

    def _retried(self, error: ExecutionError, policy: RetryPolicy, jitter: float) -> Self:
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
            **NOTHING_RAN_YET,
        )
