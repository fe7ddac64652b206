"""Between the words of the job protos and the words of the domain."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from weir.job.v1 import job_service_pb2 as pb
from weir.router.v1 import router_service_pb2 as router_pb
from weir.worker.v1 import inference_service_pb2 as worker_pb

from job_service.domain.charge import UsageSource
from job_service.domain.decision import RouteDecision
from job_service.domain.execution import Delta, Embedding, FinishReason, Started
from job_service.domain.job import Job
from job_service.domain.job_state import JobState
from job_service.domain.receipt import ReceiptKey
from job_service.domain.specification import (
    AUTO,
    JobKind,
    JobSpecification,
    Message,
    Residency,
    Sampling,
)
from job_service.domain.vectors import unpacked
from job_service.usecases.get_receipt import VerifiableReceipt
from job_service.usecases.job_ports import JobPosition
from job_service.usecases.run_job import Admitted, Ended, RunEvent
from service_kit.errors import InvalidArgument
from service_kit.ids import is_uuid
from service_kit.timestamps import timestamp

STATES: Final = {
    JobState.ADMITTING: pb.JOB_STATE_PENDING,
    JobState.BLOCKED: pb.JOB_STATE_BLOCKED,
    JobState.PENDING: pb.JOB_STATE_PENDING,
    JobState.RUNNING: pb.JOB_STATE_RUNNING,
    JobState.RETRYING: pb.JOB_STATE_RETRYING,
    JobState.COMPLETED: pb.JOB_STATE_COMPLETED,
    JobState.FAILED: pb.JOB_STATE_FAILED,
    JobState.DEAD_LETTER: pb.JOB_STATE_DEAD_LETTER,
    JobState.CANCELLED: pb.JOB_STATE_CANCELLED,
}
KINDS: Final = {
    JobKind.QUEUED: pb.JOB_KIND_QUEUED,
    JobKind.INTERACTIVE: pb.JOB_KIND_INTERACTIVE,
}
USAGE_SOURCES: Final = {
    UsageSource.REPORTED: pb.USAGE_SOURCE_REPORTED,
    UsageSource.COUNTED: pb.USAGE_SOURCE_COUNTED,
}
FINISH_REASONS: Final = {
    FinishReason.STOP: worker_pb.FINISH_REASON_STOP,
    FinishReason.LENGTH: worker_pb.FINISH_REASON_LENGTH,
    FinishReason.CANCELLED: worker_pb.FINISH_REASON_CANCELLED,
}
RESIDENCIES: Final = {
    router_pb.RESIDENCY_UNSPECIFIED: Residency.ANY,
    router_pb.RESIDENCY_ANY: Residency.ANY,
    router_pb.RESIDENCY_LOCAL_ONLY: Residency.LOCAL_ONLY,
}
_STATES_FROM: Final = {
    proto: state for state, proto in STATES.items() if state is not JobState.ADMITTING
}


def specification_from_proto(specification: pb.JobSpecification) -> JobSpecification:
    residency = RESIDENCIES.get(specification.residency)
    if residency is None:
        raise InvalidArgument("residency", "This residency is not known.")
    return JobSpecification(
        type=specification.type,
        model=specification.model or AUTO,
        messages=tuple(
            Message(message.role, message.content) for message in specification.messages
        ),
        sampling=sampling_from_proto(specification.sampling),
        residency=residency,
        inputs=tuple(specification.inputs),
    )


def sampling_from_proto(sampling: worker_pb.SamplingParameters) -> Sampling:
    return Sampling(
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature if sampling.HasField("temperature") else None,
        top_p=sampling.top_p if sampling.HasField("top_p") else None,
        seed=sampling.seed if sampling.HasField("seed") else None,
        stop=tuple(sampling.stop),
        frequency_penalty=(
            sampling.frequency_penalty if sampling.HasField("frequency_penalty") else None
        ),
        presence_penalty=(
            sampling.presence_penalty if sampling.HasField("presence_penalty") else None
        ),
    )


def state_from_proto(state: pb.JobState.ValueType) -> JobState | None:
    """Return the state to filter by; `None` for all."""
    if state == pb.JOB_STATE_UNSPECIFIED:
        return None
    found = _STATES_FROM.get(state)
    if found is None:
        raise InvalidArgument("state", "This state is not known.")
    return found


def job_to_proto(job: Job) -> pb.Job:
    terms = job.terms
    message = pb.Job(
        job_id=job.id,
        project_id=job.project_id,
        type=job.specification.type,
        kind=KINDS[job.kind],
        state=STATES[job.state],
        attempt=job.attempt,
        retry_count=job.retry_count,
        max_retries=job.max_retries,
        failure_reason=job.failure_reason or "",
        last_error=job.last_error or "",
        created_at=timestamp(job.created_at),
        started_at=timestamp(job.started_at),
        completed_at=timestamp(job.completed_at),
        next_retry_at=timestamp(job.next_retry_at),
        model=job.specification.model,
        decision=decision_to_proto(job.decision) if job.decision else None,
        executed_target=job.executed_target or "",
        executed_model=job.executed_model or "",
        usage_source=_usage_source(job.usage_source),
        estimated_cost_nanousd=terms.hold_nanousd if terms else 0,
        price_version=terms.price_version if terms else "",
        finish_reason=_finish_reason(job.finish_reason),
        result_text=job.result_text or "",
        cancel_requested=job.cancel_requested,
        priority=job.priority,
    )
    if job.usage is not None:
        message.usage.tokens_input = job.usage.tokens_input
        message.usage.tokens_output = job.usage.tokens_output
        message.usage.tokens_input_cached = job.usage.tokens_input_cached
    if job.state.is_final:
        message.actual_cost_nanousd = job.charge_nanousd or 0
    return message


def decision_to_proto(decision: RouteDecision) -> router_pb.RouteDecision:
    complexity = decision.complexity
    return router_pb.RouteDecision(
        target=decision.target,
        model=decision.model,
        reason=decision.reason,
        complexity=router_pb.Complexity(
            score=complexity.score,
            threshold=complexity.threshold,
            words=complexity.words,
            context_characters=complexity.context_characters,
            keywords=complexity.keywords,
        ),
        explanation=decision.explanation,
        alternatives=[
            router_pb.Alternative(
                target=each.target,
                eligible=each.eligible,
                reason=each.reason,
                estimated_cost_nanousd=each.estimated_cost_nanousd,
            )
            for each in decision.alternatives
        ],
        estimated_cost_nanousd=decision.estimated_cost_nanousd,
    )


def run_event_to_proto(event: RunEvent) -> pb.RunJobResponse:
    match event:
        case Admitted(job):
            return pb.RunJobResponse(
                admitted=pb.RunJobResponse.Admitted(
                    job_id=job.id, created_at=timestamp(job.created_at)
                )
            )
        case RouteDecision():
            return pb.RunJobResponse(decision=decision_to_proto(event))
        case Started():
            return pb.RunJobResponse(
                started=pb.RunJobResponse.Started(target=event.target, model=event.model)
            )
        case Delta():
            return pb.RunJobResponse(delta=pb.RunJobResponse.Delta(text=event.text))
        case Embedding():
            return pb.RunJobResponse(
                embedding=worker_pb.Embedding(index=event.index, values=unpacked(event.vector))
            )
        case Ended(job):
            return pb.RunJobResponse(finished=pb.RunJobResponse.Finished(job=job_to_proto(job)))


def receipt_to_proto(found: VerifiableReceipt) -> pb.Receipt:
    receipt = found.receipt
    return pb.Receipt(
        statement=receipt.statement,
        key_id=receipt.key_id,
        signature=receipt.signature,
        keys=[receipt_key_to_proto(key) for key in found.keys],
    )


def receipt_key_to_proto(key: ReceiptKey) -> pb.ReceiptKey:
    return pb.ReceiptKey(
        key_id=key.key_id,
        public_key=key.public_key,
        owner=key.owner,
        created_at=timestamp(key.created_at),
    )


def position_of(job: Job) -> list[str | int]:
    """Return where a page of jobs ends."""
    return place_in_list(job.created_at, job.id)


def place_in_list(moment: datetime | None, job_id: str) -> list[str | int]:
    """Return a place in a list of jobs that is ordered by a time of theirs."""
    return [(moment or datetime.fromtimestamp(0, UTC)).isoformat(), job_id]


def position_from(position: list[str | int] | None) -> JobPosition | None:
    """Return where the next page starts.

    Raises:
        InvalidArgument: Somebody made the page token up.
    """
    return None if position is None else JobPosition(*place_from(position))


def place_from(position: list[str | int]) -> tuple[datetime, str]:
    """Return the time and the job of a place in a list.

    Raises:
        InvalidArgument: Somebody made the page token up.
    """
    try:
        created_at, job_id = position
        moment = datetime.fromisoformat(str(created_at))
    except ValueError as error:
        raise InvalidArgument("page_token", "This page token is damaged.") from error
    if moment.tzinfo is None or not is_uuid(str(job_id)):
        raise InvalidArgument("page_token", "This page token is damaged.")
    return moment, str(job_id)


def _usage_source(source: UsageSource | None) -> pb.UsageSource.ValueType:
    return pb.USAGE_SOURCE_UNSPECIFIED if source is None else USAGE_SOURCES[source]


def _finish_reason(reason: FinishReason | None) -> worker_pb.FinishReason.ValueType:
    return worker_pb.FINISH_REASON_UNSPECIFIED if reason is None else FINISH_REASONS[reason]
