"""Queued jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from gateway.entrypoints.schemas.base import Identifier, RequestBody, View
from gateway.entrypoints.schemas.routing import DecisionView, MaxTokens, Model, Residency

JobStateName = Literal[
    "pending",
    "running",
    "completed",
    "failed",
    "retrying",
    "dead_letter",
    "blocked",
    "cancelled",
]


JobType = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class JobPayload(RequestBody):
    """What to run."""

    prompt: Annotated[str, Field(min_length=1)]
    context: str = ""
    max_tokens: MaxTokens | None = None


class CreateJobBody(RequestBody):
    """A job to queue, such as `generation_v2` or `implement_feature`."""

    type: JobType
    payload: JobPayload
    project_id: Identifier | None = None
    model: Model = "auto"
    residency: Residency = "any"
    max_retries: Annotated[int, Field(ge=0, le=10)] | None = None
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    """Larger first, among the jobs of the same project."""


class JobView(View):
    """A job. `result_text` is `null` in lists and until there is one."""

    job_id: str
    project_id: str
    type: str
    kind: Literal["queued", "interactive"]
    state: JobStateName
    attempt: int
    retry_count: int
    max_retries: int
    priority: int
    failure_reason: str | None
    last_error: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    next_retry_at: datetime | None
    actual_duration: float | None
    """Seconds from start to end."""
    model: str
    decision: DecisionView | None
    executed_target: str | None
    executed_model: str | None
    tokens_used_input: int
    tokens_used_output: int
    tokens_used_total: int
    usage_source: Literal["reported", "counted"] | None
    estimated_cost: float
    estimated_cost_nanousd: int
    actual_cost: float | None
    actual_cost_nanousd: int | None
    price_version: str | None
    finish_reason: Literal["stop", "length", "cancelled"] | None
    cancel_requested: bool
    result_text: str | None


class JobsView(View):
    """A page of jobs, newest first."""

    jobs: list[JobView]
    next_page_token: str
