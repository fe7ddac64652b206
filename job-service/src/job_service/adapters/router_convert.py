"""Between the router's protos and the words of the domain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from weir.router.v1 import execution_service_pb2 as execution_pb
from weir.router.v1 import router_service_pb2 as router_pb
from weir.worker.v1 import inference_service_pb2 as worker_pb

from job_service.domain.charge import Usage
from job_service.domain.decision import Alternative, Complexity, RouteDecision
from job_service.domain.execution import (
    Delta,
    Dispatching,
    Embedding,
    ExecutionEvent,
    Finished,
    FinishReason,
    Released,
    SignedResult,
    Started,
)
from job_service.domain.job import Job
from job_service.domain.specification import Operation, Residency, Sampling
from job_service.domain.targets import Model, Target
from job_service.domain.vectors import packed

RESIDENCIES: Final = {
    Residency.ANY: router_pb.RESIDENCY_ANY,
    Residency.LOCAL_ONLY: router_pb.RESIDENCY_LOCAL_ONLY,
}
OPERATIONS: Final = {
    Operation.CHAT: worker_pb.OPERATION_CHAT,
    Operation.COMPLETION: worker_pb.OPERATION_COMPLETION,
    Operation.EMBEDDING: worker_pb.OPERATION_EMBEDDING,
}
_OPERATIONS_FROM: Final = {
    worker_pb.OPERATION_UNSPECIFIED: Operation.CHAT,
    **{proto: operation for operation, proto in OPERATIONS.items()},
}
FINISH_REASONS: Final = {
    worker_pb.FINISH_REASON_UNSPECIFIED: FinishReason.STOP,
    worker_pb.FINISH_REASON_STOP: FinishReason.STOP,
    worker_pb.FINISH_REASON_LENGTH: FinishReason.LENGTH,
    worker_pb.FINISH_REASON_CANCELLED: FinishReason.CANCELLED,
}


def target_from_proto(target: router_pb.Target) -> Target:
    return Target(
        name=target.target,
        paid=target.paid,
        models=tuple(
            Model(
                name=model.model,
                context_tokens=model.context_tokens,
                default_max_tokens=model.default_max_tokens,
                template_overhead_tokens=model.template_overhead_tokens,
                message_overhead_tokens=model.message_overhead_tokens,
                operations=operations_from_proto(model.operations),
            )
            for model in target.models
        ),
    )


def operations_from_proto(
    listed: Sequence[worker_pb.Operation.ValueType],
) -> frozenset[Operation]:
    """Return what a model can do. None listed means chat; one that we don't know is left out."""
    found = listed or (worker_pb.OPERATION_CHAT,)
    return frozenset(_OPERATIONS_FROM[each] for each in found if each in _OPERATIONS_FROM)


def start_to_proto(job: Job) -> execution_pb.ExecuteRequest:
    specification, terms = job.specification, job.agreed
    return execution_pb.ExecuteRequest(
        start=execution_pb.ExecuteRequest.Start(
            job_id=job.id,
            attempt=job.attempt,
            project_id=job.project_id,
            query=router_pb.RouteQuery(
                model=specification.model,
                prompt=specification.prompt,
                context_characters=specification.context_characters,
                tokens_input_bound=terms.tokens_input_bound,
                max_tokens=terms.max_tokens,
                residency=RESIDENCIES[specification.residency],
                operation=OPERATIONS[specification.operation],
            ),
            messages=[
                worker_pb.ChatMessage(role=message.role, content=message.content)
                for message in specification.messages
            ],
            sampling=sampling_to_proto(specification.sampling, terms.max_tokens),
            inputs=specification.inputs,
        )
    )


def sampling_to_proto(sampling: Sampling, max_tokens: int) -> worker_pb.SamplingParameters:
    """Return the parameters with the `max_tokens` that was held for."""
    return worker_pb.SamplingParameters(
        max_tokens=max_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        seed=sampling.seed,
        stop=sampling.stop,
        frequency_penalty=sampling.frequency_penalty,
        presence_penalty=sampling.presence_penalty,
    )


def event_from_proto(response: execution_pb.ExecuteResponse) -> ExecutionEvent | None:
    """Return the event; `None` for one that a newer router may send and we don't know."""
    match response.WhichOneof("event"):
        case "decision":
            return decision_from_proto(response.decision)
        case "dispatching":
            dispatching = response.dispatching
            return Dispatching(dispatching.target, dispatching.client_task_id)
        case "released":
            released = response.released
            return Released(released.target, released.client_task_id, released.reason)
        case "started":
            started = response.started
            return Started(started.target, started.model, started.worker_id, started.model_digest)
        case "delta":
            return Delta(response.delta.text, response.delta.tokens)
        case "embedding":
            return Embedding(response.embedding.index, packed(response.embedding.values))
        case "finished":
            return _finished(response.finished)
        case _:
            return None


def _finished(finished: execution_pb.ExecuteResponse.Finished) -> Finished:
    usage = finished.usage
    return Finished(
        FINISH_REASONS.get(finished.finish_reason, FinishReason.STOP),
        Usage(usage.tokens_input, usage.tokens_output, usage.tokens_input_cached)
        if finished.HasField("usage")
        else None,
        _signed_result(finished.signed_result) if finished.HasField("signed_result") else None,
        finished.provider_response_id,
    )


def _signed_result(signed: worker_pb.SignedResult) -> SignedResult:
    return SignedResult(signed.statement, signed.key_id, signed.signature, signed.public_key)


def decision_from_proto(decision: router_pb.RouteDecision) -> RouteDecision:
    complexity = decision.complexity
    return RouteDecision(
        target=decision.target,
        model=decision.model,
        reason=decision.reason,
        complexity=Complexity(
            complexity.score,
            complexity.threshold,
            complexity.words,
            complexity.context_characters,
            tuple(complexity.keywords),
        ),
        explanation=tuple(decision.explanation),
        alternatives=tuple(
            Alternative(each.target, each.eligible, each.reason, each.estimated_cost_nanousd)
            for each in decision.alternatives
        ),
        estimated_cost_nanousd=decision.estimated_cost_nanousd,
    )
