"""What there is to see of a job that Weir gave up on, so that a person can decide about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from job_service.domain.job_events import LifecycleRecord


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Which dead letters are meant; empty texts mean any."""

    project_id: str
    type: str = ""
    failure_reason: str = ""


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One execution as it is stored. Texts are empty, and times `None`, where there is nothing."""

    attempt: int
    admission: int
    target: str
    model: str
    client_task_id: str
    started_at: datetime
    dispatched_at: datetime | None
    released_at: datetime | None
    finished_at: datetime | None
    outcome: str
    error: str
    tokens_input: int
    tokens_output: int
    usage_source: str
    provider_cost_nanousd: int


@dataclass(frozen=True, slots=True)
class AdmissionCharge:
    """What one admission came to: its settlement."""

    admission: int
    job_state: str
    charge_nanousd: int
    voided: bool
    provider_cost_nanousd: int
    price_version: str
    ended_at: datetime
    booked: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """Attempts, changes and charges of a job, each in their order.

    Of very many attempts or changes only the last are here; the totals count all.
    """

    attempts: Sequence[AttemptRecord]
    attempts_total: int
    changes: Sequence[LifecycleRecord]
    changes_total: int
    charges: Sequence[AdmissionCharge]
