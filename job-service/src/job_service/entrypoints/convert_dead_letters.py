"""Dead letters in the words of the protos."""

from __future__ import annotations

from weir.job.v1 import dead_letter_service_pb2 as pb
from weir.job.v1 import job_service_pb2 as job_pb

from job_service.domain.charge import UsageSource
from job_service.domain.dead_letter import AdmissionCharge, AttemptRecord
from job_service.domain.job_state import JobState
from job_service.entrypoints.convert import STATES, USAGE_SOURCES, job_to_proto
from job_service.entrypoints.convert_events import lifecycle_to_proto
from job_service.usecases.get_dead_letter import DeadLetter
from service_kit.timestamps import timestamp


def dead_letter_to_proto(found: DeadLetter) -> pb.DeadLetter:
    evidence = found.evidence
    return pb.DeadLetter(
        job=job_to_proto(found.job),
        attempts=[_attempt(each) for each in evidence.attempts],
        attempts_total=evidence.attempts_total,
        events=[lifecycle_to_proto(each) for each in evidence.changes],
        events_total=evidence.changes_total,
        charges=[_charge(each) for each in evidence.charges],
    )


def _attempt(record: AttemptRecord) -> pb.DeadLetter.Attempt:
    source = record.usage_source
    return pb.DeadLetter.Attempt(
        attempt=record.attempt,
        admission=record.admission,
        target=record.target,
        model=record.model,
        client_task_id=record.client_task_id,
        started_at=timestamp(record.started_at),
        dispatched_at=timestamp(record.dispatched_at),
        released_at=timestamp(record.released_at),
        finished_at=timestamp(record.finished_at),
        outcome=record.outcome,
        error=record.error,
        tokens_input=record.tokens_input,
        tokens_output=record.tokens_output,
        usage_source=(
            USAGE_SOURCES[UsageSource(source)] if source else job_pb.USAGE_SOURCE_UNSPECIFIED
        ),
        provider_cost_nanousd=record.provider_cost_nanousd,
    )


def _charge(charge: AdmissionCharge) -> pb.DeadLetter.AdmissionCharge:
    state = charge.job_state
    return pb.DeadLetter.AdmissionCharge(
        admission=charge.admission,
        state=STATES[JobState(state)] if state else job_pb.JOB_STATE_UNSPECIFIED,
        charge_nanousd=charge.charge_nanousd,
        voided=charge.voided,
        provider_cost_nanousd=charge.provider_cost_nanousd,
        price_version=charge.price_version,
        ended_at=timestamp(charge.ended_at),
        booked=charge.booked,
    )
