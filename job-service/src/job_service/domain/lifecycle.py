"""The story of a job: one event for each change, numbered by the job."""

from __future__ import annotations

from dataclasses import dataclass, field

from job_service.domain.job import Job


@dataclass(frozen=True, slots=True)
class LifecycleEvent:
    """Type and details of a change; the store adds job, number and time."""

    type: str
    details: dict[str, str | int] = field(default_factory=dict)


def event_of(was: Job | None, now: Job) -> LifecycleEvent:
    """Return what there is to tell about a change."""
    if was is None:
        return LifecycleEvent("created", {"kind": now.kind, "type": now.specification.type})
    if now.admission != was.admission:
        return LifecycleEvent("retried", {"attempt": now.attempt, "admission": now.admission})
    if now.state is not was.state:
        return LifecycleEvent(now.state, _details(now))
    if now.dispatch != was.dispatch:
        if now.dispatch is None:
            return LifecycleEvent("released", {"attempt": now.attempt})
        return LifecycleEvent("dispatched", {"attempt": now.attempt, "target": now.dispatch.target})
    if now.cancel_requested and not was.cancel_requested:
        return LifecycleEvent("cancel_requested", {"attempt": now.attempt})
    if now.terms != was.terms:
        return LifecycleEvent("priced", {"price_version": now.agreed.price_version})
    return LifecycleEvent("admission_resumed")


def _details(job: Job) -> dict[str, str | int]:
    details: dict[str, str | int] = {"attempt": job.attempt, "retry_count": job.retry_count}
    if job.failure_reason:
        details["reason"] = job.failure_reason
    if job.state.is_final:
        details["admission"] = job.admission
        details["charge_nanousd"] = job.charge_nanousd or 0
        if job.delta_count is not None:
            details["deltas"] = job.delta_count
    return details
