"""Between the words of the protos and the shapes of HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Literal

from google.protobuf import timestamp_pb2
from google.protobuf.message import Message
from weir.auth.v1 import access_service_pb2 as access_pb
from weir.auth.v1 import auth_service_pb2 as auth_pb
from weir.cost.v1 import cost_service_pb2 as cost_pb
from weir.job.v1 import job_service_pb2 as job_pb
from weir.router.v1 import router_service_pb2 as router_pb
from weir.worker.v1 import inference_service_pb2 as worker_pb

from gateway.domain.money import usd_view
from gateway.domain.project import Budget, Project
from gateway.entrypoints.schemas.auth import (
    ApiKeyView,
    RegisteredUserView,
    RegisteredView,
    TokensView,
    UserView,
)
from gateway.entrypoints.schemas.costs import JobCostView
from gateway.entrypoints.schemas.jobs import CreateJobBody, JobStateName, JobView
from gateway.entrypoints.schemas.models import OperationName
from gateway.entrypoints.schemas.projects import ProjectView, ProjectWithBudgetView
from gateway.entrypoints.schemas.routing import (
    AlternativeView,
    ComplexityView,
    DecisionView,
    RouteBody,
)

ROLES: Final = {
    auth_pb.USER_ROLE_GUEST: "guest",
    auth_pb.USER_ROLE_USER: "user",
    auth_pb.USER_ROLE_PREMIUM_USER: "premium_user",
    auth_pb.USER_ROLE_DEVELOPER: "developer",
    auth_pb.USER_ROLE_ADMIN: "admin",
    auth_pb.USER_ROLE_SUPER_ADMIN: "super_admin",
}

SCOPES: Final = {
    access_pb.API_KEY_SCOPE_READ: "read",
    access_pb.API_KEY_SCOPE_INFERENCE: "inference",
    access_pb.API_KEY_SCOPE_JOBS_WRITE: "jobs:write",
    access_pb.API_KEY_SCOPE_PROJECTS_WRITE: "projects:write",
    access_pb.API_KEY_SCOPE_ADMIN: "admin",
}
_SCOPES_BY_NAME: Final = {name: scope for scope, name in SCOPES.items()}

JOB_STATES: Final[dict[job_pb.JobState.ValueType, JobStateName]] = {
    job_pb.JOB_STATE_PENDING: "pending",
    job_pb.JOB_STATE_RUNNING: "running",
    job_pb.JOB_STATE_COMPLETED: "completed",
    job_pb.JOB_STATE_FAILED: "failed",
    job_pb.JOB_STATE_RETRYING: "retrying",
    job_pb.JOB_STATE_DEAD_LETTER: "dead_letter",
    job_pb.JOB_STATE_BLOCKED: "blocked",
    job_pb.JOB_STATE_CANCELLED: "cancelled",
}
JOB_STATES_BY_NAME: Final = {name: state for state, name in JOB_STATES.items()}

JOB_KINDS: Final[dict[job_pb.JobKind.ValueType, Literal["queued", "interactive"]]] = {
    job_pb.JOB_KIND_QUEUED: "queued",
    job_pb.JOB_KIND_INTERACTIVE: "interactive",
}

USAGE_SOURCES: Final[dict[job_pb.UsageSource.ValueType, Literal["reported", "counted"] | None]] = {
    job_pb.USAGE_SOURCE_UNSPECIFIED: None,
    job_pb.USAGE_SOURCE_REPORTED: "reported",
    job_pb.USAGE_SOURCE_COUNTED: "counted",
}

FinishReasonName = Literal["stop", "length", "cancelled"]
FINISH_REASONS: Final[dict[worker_pb.FinishReason.ValueType, FinishReasonName | None]] = {
    worker_pb.FINISH_REASON_UNSPECIFIED: None,
    worker_pb.FINISH_REASON_STOP: "stop",
    worker_pb.FINISH_REASON_LENGTH: "length",
    worker_pb.FINISH_REASON_CANCELLED: "cancelled",
}

OPERATIONS: Final[dict[worker_pb.Operation.ValueType, OperationName]] = {
    worker_pb.OPERATION_CHAT: "chat",
    worker_pb.OPERATION_COMPLETION: "completion",
    worker_pb.OPERATION_EMBEDDING: "embedding",
}

RESIDENCIES: Final = {
    "any": router_pb.RESIDENCY_ANY,
    "local_only": router_pb.RESIDENCY_LOCAL_ONLY,
}


def time_of(timestamp: timestamp_pb2.Timestamp) -> datetime:
    """Return a timestamp in UTC."""
    return timestamp.ToDatetime(tzinfo=UTC)


def find_time(message: Message, field: str) -> datetime | None:
    """Return the timestamp in a field, or `None` where it is not set."""
    return time_of(getattr(message, field)) if message.HasField(field) else None


def tokens_view(tokens: auth_pb.TokenPair) -> TokensView:
    return TokensView(
        access_token=tokens.access_token,
        refresh_token=tokens.refresh_token,
        expires_in=tokens.access_token_seconds,
    )


def registered_view(response: auth_pb.RegisterResponse) -> RegisteredView:
    user, tokens = response.user, response.tokens
    return RegisteredView(
        access_token=tokens.access_token,
        refresh_token=tokens.refresh_token,
        expires_in=tokens.access_token_seconds,
        user=RegisteredUserView(
            id=user.user_id,
            email=user.email,
            username=user.username,
            full_name=user.full_name,
            role=ROLES[user.role],
        ),
    )


def user_view(user: auth_pb.User) -> UserView:
    return UserView(
        id=user.user_id,
        email=user.email,
        username=user.username,
        full_name=user.full_name,
        role=ROLES[user.role],
        created_at=time_of(user.created_at),
        last_login=find_time(user, "last_login_at"),
        active_sessions_count=user.active_sessions_count,
        default_project_id=user.default_project_id,
    )


def scopes_to_proto(names: Sequence[str]) -> list[access_pb.ApiKeyScope.ValueType]:
    return [_SCOPES_BY_NAME[name] for name in names]


def api_key_view(response: access_pb.CreateApiKeyResponse) -> ApiKeyView:
    key = response.api_key
    return ApiKeyView(
        key_id=key.key_id,
        project_id=key.project_id,
        name=key.name,
        scopes=[SCOPES[scope] for scope in key.scopes],
        prefix=key.prefix,
        created_at=time_of(key.created_at),
        expires_at=find_time(key, "expires_at"),
        secret=response.secret or None,
    )


def project_view(project: Project) -> ProjectView:
    return ProjectView(
        project_id=project.project_id,
        name=project.name,
        owner_user_id=project.owner_user_id,
        is_default=project.is_default,
        created_at=project.created_at,
        team_id=project.team_id,
    )


def project_with_budget_view(project: Project, budget: Budget | None) -> ProjectWithBudgetView:
    cap = budget.cap_nanousd if budget is not None and budget.has_budget else None
    return ProjectWithBudgetView(
        project_id=project.project_id,
        name=project.name,
        owner_user_id=project.owner_user_id,
        is_default=project.is_default,
        created_at=project.created_at,
        team_id=project.team_id,
        budget_allocated=None if cap is None else usd_view(cap),
        budget_allocated_nanousd=cap,
    )


def job_cost_view(cost: cost_pb.JobCost) -> JobCostView:
    return JobCostView(
        job_id=cost.job_id,
        project_id=cost.project_id,
        settled=cost.settled,
        estimated_cost=usd_view(cost.held_nanousd),
        estimated_cost_nanousd=cost.held_nanousd,
        actual_cost=usd_view(cost.charged_nanousd) if cost.settled else None,
        actual_cost_nanousd=cost.charged_nanousd if cost.settled else None,
        target=cost.target,
        model=cost.model,
        tokens_used_input=cost.tokens_input,
        tokens_used_output=cost.tokens_output,
        tokens_used_total=cost.tokens_input + cost.tokens_output,
        price_version=cost.price_version,
        settled_at=find_time(cost, "settled_at"),
    )


def decision_view(decision: router_pb.RouteDecision) -> DecisionView:
    complexity = decision.complexity
    return DecisionView(
        target=decision.target,
        model=decision.model,
        reason=decision.reason,
        complexity=ComplexityView(
            score=complexity.score,
            threshold=complexity.threshold,
            words=complexity.words,
            context_characters=complexity.context_characters,
            keywords=list(complexity.keywords),
        ),
        explanation=list(decision.explanation),
        alternatives=[
            AlternativeView(
                target=other.target,
                eligible=other.eligible,
                reason=other.reason,
                estimated_cost=usd_view(other.estimated_cost_nanousd),
                estimated_cost_nanousd=other.estimated_cost_nanousd,
            )
            for other in decision.alternatives
        ],
        estimated_cost=usd_view(decision.estimated_cost_nanousd),
        estimated_cost_nanousd=decision.estimated_cost_nanousd,
    )


def route_query(body: RouteBody) -> router_pb.RouteQuery:
    return router_pb.RouteQuery(
        model=body.model,
        prompt=body.prompt,
        context_characters=len(body.context),
        # No tokenizer makes more tokens than there are bytes.
        tokens_input_bound=len(body.prompt.encode()) + len(body.context.encode()),
        max_tokens=body.max_tokens or 0,
        residency=RESIDENCIES[body.residency],
    )


def create_job_request(
    body: CreateJobBody, project_id: str, request_id: str
) -> job_pb.CreateJobRequest:
    payload = body.payload
    messages = [worker_pb.ChatMessage(role="user", content=payload.prompt)]
    if payload.context:
        messages.insert(0, worker_pb.ChatMessage(role="system", content=payload.context))
    request = job_pb.CreateJobRequest(
        project_id=project_id,
        request_id=request_id,
        specification=job_pb.JobSpecification(
            type=body.type,
            model=body.model,
            messages=messages,
            sampling=worker_pb.SamplingParameters(max_tokens=payload.max_tokens or 0),
            residency=RESIDENCIES[body.residency],
        ),
        priority=body.priority,
    )
    if body.max_retries is not None:
        request.max_retries = body.max_retries
    return request


def operations_of(model: router_pb.Model) -> list[OperationName]:
    """Return what a model can do; one that does not say so answers chats."""
    return [OPERATIONS[one] for one in model.operations if one in OPERATIONS] or ["chat"]


def job_view(job: job_pb.Job, *, with_result: bool) -> JobView:
    started_at, completed_at = find_time(job, "started_at"), find_time(job, "completed_at")
    settled = job.HasField("actual_cost_nanousd")
    return JobView(
        job_id=job.job_id,
        project_id=job.project_id,
        type=job.type,
        kind=JOB_KINDS[job.kind],
        state=JOB_STATES[job.state],
        attempt=job.attempt,
        retry_count=job.retry_count,
        max_retries=job.max_retries,
        priority=job.priority,
        failure_reason=job.failure_reason or None,
        last_error=job.last_error or None,
        created_at=time_of(job.created_at),
        started_at=started_at,
        completed_at=completed_at,
        next_retry_at=find_time(job, "next_retry_at"),
        actual_duration=(
            (completed_at - started_at).total_seconds() if started_at and completed_at else None
        ),
        model=job.model,
        decision=decision_view(job.decision) if job.HasField("decision") else None,
        executed_target=job.executed_target or None,
        executed_model=job.executed_model or None,
        tokens_used_input=job.usage.tokens_input,
        tokens_used_output=job.usage.tokens_output,
        tokens_used_total=job.usage.tokens_input + job.usage.tokens_output,
        usage_source=USAGE_SOURCES[job.usage_source],
        estimated_cost=usd_view(job.estimated_cost_nanousd),
        estimated_cost_nanousd=job.estimated_cost_nanousd,
        actual_cost=usd_view(job.actual_cost_nanousd) if settled else None,
        actual_cost_nanousd=job.actual_cost_nanousd if settled else None,
        price_version=job.price_version or None,
        finish_reason=FINISH_REASONS[job.finish_reason],
        cancel_requested=job.cancel_requested,
        result_text=(job.result_text or None) if with_result else None,
    )
