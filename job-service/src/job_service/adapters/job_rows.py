"""A job as columns, and back."""

from __future__ import annotations

from typing import Any

from sqlalchemy import RowMapping

from job_service.adapters import documents
from job_service.adapters.tables import jobs
from job_service.domain.charge import Terms, Usage, UsageSource
from job_service.domain.decision import RouteDecision
from job_service.domain.execution import FinishReason
from job_service.domain.job import Job
from job_service.domain.job_record import Dispatch
from job_service.domain.job_state import JobState
from job_service.domain.specification import JobKind

# Vectors may have megabytes, and only a replay wants them.
WHOLE = tuple(column for column in jobs.c if column.name != "result_embeddings")


def fixed_columns(job: Job) -> dict[str, Any]:
    """Return the columns that are written once, with the job."""
    specification = job.specification
    return {
        "job_id": job.id,
        "project_id": job.project_id,
        "kind": job.kind.value,
        "type": specification.type,
        "model": specification.model,
        "priority": job.priority,
        "content": documents.content_to_document(specification),
        "scopes": documents.scopes_to_document(job.scopes),
        "max_retries": job.max_retries,
        "origin_request_id": job.origin_request_id,
        "api_key_id": next((one.scope_id for one in job.scopes if one.kind == "api_key"), ""),
    }


def changing_columns(job: Job) -> dict[str, Any]:
    """Return the columns that transitions write; times are stamped in SQL."""
    return {**_plain_columns(job), **_terms_columns(job.terms), **_decision_columns(job.decision)}


def changed_columns(was: Job, now: Job) -> dict[str, Any]:
    """Return those of the changing columns that a change writes anew."""
    before = _plain_columns(was)
    changed = {name: value for name, value in _plain_columns(now).items() if value != before[name]}
    # Only where they differ: documents are dear to make.
    if now.terms != was.terms:
        changed |= _terms_columns(now.terms)
    if now.decision != was.decision:
        changed |= _decision_columns(now.decision)
    return changed


def _terms_columns(terms: Terms | None) -> dict[str, Any]:
    return {
        "tokens_input_bound": terms.tokens_input_bound if terms else None,
        "max_tokens": terms.max_tokens if terms else None,
        "hold_nanousd": terms.hold_nanousd if terms else None,
        "price_version": terms.price_version if terms else None,
        "prices": documents.prices_to_document(terms.prices) if terms else None,
    }


def _decision_columns(decision: RouteDecision | None) -> dict[str, Any]:
    return {"decision": documents.decision_to_document(decision)}


def _plain_columns(job: Job) -> dict[str, Any]:
    usage, dispatch = job.usage, job.dispatch
    return {
        "state": job.state.value,
        "admission": job.admission,
        "attempt": job.attempt,
        "retry_count": job.retry_count,
        "lost_count": job.lost_count,
        "waits": job.waits,
        "lease_token": job.lease_token,
        "dispatched_target": dispatch.target if dispatch else None,
        "client_task_id": dispatch.client_task_id if dispatch else None,
        "period": job.period,
        "usage_counted": job.tokens_counted,
        "executed_target": job.executed_target,
        "executed_model": job.executed_model,
        "failure_reason": job.failure_reason,
        "last_error": _storable(job.last_error),
        "result_text": _storable(job.result_text),
        "result_embeddings": job.result_embeddings,
        "finish_reason": job.finish_reason.value if job.finish_reason else None,
        "tokens_input": usage.tokens_input if usage else None,
        "tokens_output": usage.tokens_output if usage else None,
        "tokens_input_cached": usage.tokens_input_cached if usage else None,
        "usage_source": job.usage_source.value if job.usage_source else None,
        "charge_nanousd": job.charge_nanousd,
        "provider_cost_nanousd": job.provider_cost_nanousd,
    }


def job_from(row: RowMapping) -> Job:
    """Return the job in a row; columns that were not read (content, result) stay empty.

    Vectors are never read with their job.
    """
    return Job(
        id=row["job_id"],
        project_id=row["project_id"],
        kind=JobKind(row["kind"]),
        specification=documents.specification_from(row["type"], row["model"], row.get("content")),
        scopes=documents.scopes_from(row["scopes"]),
        max_retries=row["max_retries"],
        origin_request_id=row["origin_request_id"],
        priority=row["priority"],
        state=JobState(row["state"]),
        admission=row["admission"],
        attempt=row["attempt"],
        retry_count=row["retry_count"],
        lost_count=row["lost_count"],
        waits=row["waits"],
        lease_token=row["lease_token"],
        cancel_requested=row["cancel_requested_at"] is not None,
        dispatch=_dispatch(row),
        terms=_terms(row),
        period=row["period"],
        tokens_counted=row["usage_counted"],
        decision=documents.decision_from(row["decision"]),
        executed_target=row["executed_target"],
        executed_model=row["executed_model"],
        failure_reason=row["failure_reason"],
        last_error=row["last_error"],
        result_text=row.get("result_text"),
        finish_reason=FinishReason(row["finish_reason"]) if row["finish_reason"] else None,
        usage=_usage(row),
        usage_source=UsageSource(row["usage_source"]) if row["usage_source"] else None,
        charge_nanousd=row["charge_nanousd"],
        provider_cost_nanousd=row["provider_cost_nanousd"],
        purged_at=row["purged_at"],
        **{name: row[name] for name in STAMPS},
    )


STAMPS = ("created_at", "started_at", "completed_at", "next_retry_at", "lease_expires_at")


def _dispatch(row: RowMapping) -> Dispatch | None:
    if row["dispatched_target"] is None:
        return None
    return Dispatch(row["dispatched_target"], row["client_task_id"])


def _terms(row: RowMapping) -> Terms | None:
    if row["hold_nanousd"] is None:
        return None
    return Terms(
        tokens_input_bound=row["tokens_input_bound"],
        max_tokens=row["max_tokens"],
        hold_nanousd=row["hold_nanousd"],
        price_version=row["price_version"],
        prices=documents.prices_from(row["prices"]),
    )


def _usage(row: RowMapping) -> Usage | None:
    if row["tokens_output"] is None:
        return None
    return Usage(row["tokens_input"], row["tokens_output"], row["tokens_input_cached"])


def _storable(text: str | None) -> str | None:
    """Postgres takes no NUL in a text, and a model may write one."""
    return None if text is None else text.replace("\0", "\ufffd")
