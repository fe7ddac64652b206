"""Dead letters in the shapes of HTTP."""

from __future__ import annotations

from weir.job.v1 import dead_letter_service_pb2 as pb
from weir.job.v1 import job_service_pb2 as job_pb

from gateway.domain.money import usd_view
from gateway.entrypoints.convert import JOB_STATES, USAGE_SOURCES, find_time, job_view, time_of
from gateway.entrypoints.job_events import lifecycle_view
from gateway.entrypoints.schemas.dead_letters import (
    AdmissionChargeView,
    AttemptView,
    DeadLetterView,
    RedriveBody,
    RedrivenView,
    RefusalView,
)


def dead_letter_view(found: pb.DeadLetter) -> DeadLetterView:
    return DeadLetterView(
        job=job_view(found.job, with_result=True),
        attempts=[_attempt(each) for each in found.attempts],
        attempts_total=found.attempts_total,
        events=[lifecycle_view(each) for each in found.events],
        events_total=found.events_total,
        charges=[_charge(each) for each in found.charges],
    )


def redrive_request(
    body: RedriveBody, project_id: str, request_id: str
) -> pb.RedriveDeadLettersRequest:
    return pb.RedriveDeadLettersRequest(
        project_id=project_id,
        type=body.type or "",
        failure_reason=body.failure_reason or "",
        limit=body.limit,
        request_id=request_id,
    )


def redriven_view(redriven: pb.RedriveDeadLettersResponse) -> RedrivenView:
    return RedrivenView(
        redriven=len(redriven.job_ids),
        job_ids=list(redriven.job_ids),
        refused=[RefusalView(job_id=each.job_id, reason=each.reason) for each in redriven.refusals],
    )


def _attempt(attempt: pb.DeadLetter.Attempt) -> AttemptView:
    return AttemptView(
        attempt=attempt.attempt,
        admission=attempt.admission,
        target=attempt.target or None,
        model=attempt.model or None,
        client_task_id=attempt.client_task_id or None,
        started_at=find_time(attempt, "started_at"),
        dispatched_at=find_time(attempt, "dispatched_at"),
        released_at=find_time(attempt, "released_at"),
        finished_at=find_time(attempt, "finished_at"),
        outcome=attempt.outcome or None,
        error=attempt.error or None,
        tokens_used_input=attempt.tokens_input,
        tokens_used_output=attempt.tokens_output,
        usage_source=USAGE_SOURCES[attempt.usage_source],
        provider_cost=usd_view(attempt.provider_cost_nanousd),
        provider_cost_nanousd=attempt.provider_cost_nanousd,
    )


def _charge(charge: pb.DeadLetter.AdmissionCharge) -> AdmissionChargeView:
    known = charge.state != job_pb.JOB_STATE_UNSPECIFIED
    return AdmissionChargeView(
        admission=charge.admission,
        state=JOB_STATES[charge.state] if known else None,
        voided=charge.voided,
        actual_cost=usd_view(charge.charge_nanousd),
        actual_cost_nanousd=charge.charge_nanousd,
        provider_cost=usd_view(charge.provider_cost_nanousd),
        provider_cost_nanousd=charge.provider_cost_nanousd,
        price_version=charge.price_version or None,
        ended_at=time_of(charge.ended_at),
        booked=charge.booked,
    )
