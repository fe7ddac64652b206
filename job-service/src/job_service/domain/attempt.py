"""Evidence of each execution, kept whatever becomes of the job."""

from __future__ import annotations

from dataclasses import dataclass

from job_service.domain.job import Job
from job_service.domain.job_state import JobState


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """How an attempt ended, and what it cost us."""

    job_id: str
    attempt: int
    outcome: str
    error: str | None
    target: str | None
    model: str | None
    tokens_input: int | None
    tokens_output: int
    usage_source: str | None
    provider_cost_nanousd: int


def attempt_end(ran: Job, now: Job) -> AttemptEnd:
    """Return the evidence of the attempt that `ran` was, by which the job became `now`."""
    usage = now.usage
    return AttemptEnd(
        job_id=ran.id,
        attempt=ran.attempt,
        outcome=_outcome(ran, now),
        error=now.last_error if now.state is not JobState.COMPLETED else None,
        target=now.executed_target or ran.executed_target,
        model=now.executed_model or ran.executed_model,
        tokens_input=usage.tokens_input if usage else None,
        tokens_output=usage.tokens_output if usage else ran.tokens_counted,
        usage_source=now.usage_source,
        provider_cost_nanousd=now.provider_cost_nanousd,
    )


def _outcome(ran: Job, now: Job) -> str:
    if now.lost_count > ran.lost_count:
        return "lost"
    if now.state is JobState.PENDING:
        return "handed_back"
    return now.state
