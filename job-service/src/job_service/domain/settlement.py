"""What cost-service is told about a hold: once, when its job has ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from job_service.domain.budget_scope import BudgetScope
from job_service.domain.job import Job


class SettlementKind(StrEnum):
    """Whether a hold turns into a charge or is let go."""

    POST = "post"
    VOID = "void"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job, for reports that need no other service."""

    job_id: str
    project_id: str = ""
    job_state: str = ""
    target: str = ""
    model: str = ""
    tokens_input: int = 0
    tokens_output: int = 0
    usage_source: str = ""
    provider_cost_nanousd: int = 0
    price_version: str = ""
    period: str = ""
    job_type: str = ""
    complexity: int | None = None
    complexity_threshold: int | None = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """A row of the outbox. `created_at` is when the job ended; the database stamps it."""

    hold_id: str
    job_id: str
    kind: SettlementKind
    amount_nanousd: int
    scopes: tuple[BudgetScope, ...]
    outcome: Outcome
    attempts: int = 0
    created_at: datetime | None = None


def settlement_of(job: Job) -> Settlement:
    """Return how the hold of a job in its final state is settled."""
    if not job.state.is_final:
        raise ValueError(f"job {job.id} is {job.state}: nothing to settle yet")
    charged = job.charge_nanousd is not None
    complexity = job.decision.complexity if job.decision else None
    return Settlement(
        hold_id=job.hold_id,
        job_id=job.id,
        kind=SettlementKind.POST if charged else SettlementKind.VOID,
        amount_nanousd=job.charge_nanousd or 0,
        scopes=job.scopes,
        outcome=Outcome(
            job_id=job.id,
            project_id=job.project_id,
            job_state=job.state,
            target=job.executed_target or "",
            model=job.executed_model or "",
            tokens_input=job.usage.tokens_input if job.usage else 0,
            tokens_output=job.usage.tokens_output if job.usage else 0,
            usage_source=job.usage_source or "",
            provider_cost_nanousd=job.provider_cost_nanousd,
            price_version=job.terms.price_version if job.terms else "",
            period=job.period or "",
            job_type=job.specification.type,
            complexity=complexity.score if complexity else None,
            complexity_threshold=complexity.threshold if complexity else None,
        ),
    )


def orphan_settlement(hold_id: str, job: Job | None) -> Settlement | None:
    """Return the void for a hold that no live job stands behind; `None` while one does.

    A job is written before its hold is placed, so an unknown one never had any other end.
    """
    job_id, _, admission = hold_id.rpartition(":")
    if job is not None and str(job.admission) == admission and not job.state.is_final:
        return None
    return Settlement(
        hold_id=hold_id,
        job_id=job_id,
        kind=SettlementKind.VOID,
        amount_nanousd=0,
        scopes=job.scopes if job else (),
        outcome=Outcome(
            job_id=job_id,
            project_id=job.project_id if job else "",
            job_state=job.state if job else "",
        ),
    )
