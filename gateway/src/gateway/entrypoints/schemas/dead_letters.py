"""Jobs that Weir gave up on, and what a person may do about them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from gateway.entrypoints.schemas.base import Identifier, RequestBody, View
from gateway.entrypoints.schemas.events import LifecycleView
from gateway.entrypoints.schemas.jobs import JobStateName, JobType, JobView

FailureReason = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]


class RedriveBody(RequestBody):
    """Which dead letters to redrive; all of the project where nothing is named."""

    project_id: Identifier | None = None
    type: JobType | None = None
    failure_reason: FailureReason | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    """The most to redrive at once, those that died first first."""


class RefusalView(View):
    """A dead letter that stays one, and why."""

    job_id: str
    reason: str


class RedrivenView(View):
    """What was redriven. Where `redriven` is the `limit`, ask again for the others."""

    redriven: int
    job_ids: list[str]
    refused: list[RefusalView]


class AttemptView(View):
    """One execution. What it cost us, or may have, is never the tenant's."""

    attempt: int
    admission: int
    target: str | None
    model: str | None
    client_task_id: str | None
    started_at: datetime | None
    dispatched_at: datetime | None
    released_at: datetime | None
    finished_at: datetime | None
    outcome: str | None
    error: str | None
    tokens_used_input: int
    tokens_used_output: int
    usage_source: Literal["reported", "counted"] | None
    provider_cost: float
    provider_cost_nanousd: int


class AdmissionChargeView(View):
    """What one admission came to. `booked` once the ledger has it."""

    admission: int
    state: JobStateName | None
    voided: bool
    actual_cost: float
    actual_cost_nanousd: int
    provider_cost: float
    provider_cost_nanousd: int
    price_version: str | None
    ended_at: datetime
    booked: bool


class DeadLetterView(View):
    """A dead letter with its evidence; of very many attempts or events only the last 1,000."""

    job: JobView
    attempts: list[AttemptView]
    attempts_total: int
    events: list[LifecycleView]
    events_total: int
    charges: list[AdmissionChargeView]


class DeadLettersView(View):
    """A page of dead letters; those that died last come first."""

    dead_letters: list[JobView]
    next_page_token: str
