"""Between the words of the router's protos and the words of the domain."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from weir.router.v1 import execution_service_pb2, router_service_pb2, worker_registry_service_pb2
from weir.worker.v1 import inference_service_pb2

from compute_router.domain.decision import RouteDecision
from compute_router.domain.execution import (
    Delta,
    Dispatching,
    Embedding,
    Finished,
    FinishReason,
    Job,
    Released,
    Sampling,
    SignedResult,
    Started,
    Usage,
)
from compute_router.domain.operation import Operation
from compute_router.domain.query import ChatMessage, Residency, RouteQuery
from compute_router.domain.target import Model, TargetState
from compute_router.domain.worker import Worker
from compute_router.usecases.execute_job import ExecutionEvent
from service_kit.errors import InvalidArgument

_RESIDENCIES: Final = {
    router_service_pb2.RESIDENCY_UNSPECIFIED: Residency.ANY,
    router_service_pb2.RESIDENCY_ANY: Residency.ANY,
    router_service_pb2.RESIDENCY_LOCAL_ONLY: Residency.LOCAL_ONLY,
}
_OPERATIONS: Final = {
    inference_service_pb2.OPERATION_UNSPECIFIED: Operation.CHAT,
    inference_service_pb2.OPERATION_CHAT: Operation.CHAT,
    inference_service_pb2.OPERATION_COMPLETION: Operation.COMPLETION,
    inference_service_pb2.OPERATION_EMBEDDING: Operation.EMBEDDING,
}
_OPERATION_PROTOS: Final = {
    Operation.CHAT: inference_service_pb2.OPERATION_CHAT,
    Operation.COMPLETION: inference_service_pb2.OPERATION_COMPLETION,
    Operation.EMBEDDING: inference_service_pb2.OPERATION_EMBEDDING,
}
MAX_EMBEDDING_INPUTS: Final = 256
_REASONS: Final = {
    FinishReason.STOP: inference_service_pb2.FINISH_REASON_STOP,
    FinishReason.LENGTH: inference_service_pb2.FINISH_REASON_LENGTH,
    FinishReason.CANCELLED: inference_service_pb2.FINISH_REASON_CANCELLED,
}


def query_from_proto(query: router_service_pb2.RouteQuery) -> RouteQuery:
    """Return the query of a request.

    Raises:
        InvalidArgument: It names no model, an unknown residency or operation, or a negative
            number.
    """
    if not query.model:
        raise InvalidArgument("query.model", "A model has to be named, or `auto`.")
    if min(query.context_characters, query.tokens_input_bound, query.max_tokens) < 0:
        raise InvalidArgument("query", "Counts can't be negative.")
    residency = _RESIDENCIES.get(query.residency)
    if residency is None:
        raise InvalidArgument("query.residency", "This residency is not known.")
    operation = _OPERATIONS.get(query.operation)
    if operation is None:
        raise InvalidArgument("query.operation", "This operation is not known.")
    return RouteQuery(
        model=query.model,
        prompt=query.prompt,
        context_characters=query.context_characters,
        tokens_input_bound=query.tokens_input_bound,
        max_tokens=query.max_tokens,
        residency=residency,
        budget_headroom_nanousd=(
            query.budget_headroom_nanousd if query.HasField("budget_headroom_nanousd") else None
        ),
        operation=operation,
    )


def job_from_proto(request: execution_service_pb2.ExecuteRequest) -> Job:
    """Return the job that the first message of a stream asks for.

    Raises:
        InvalidArgument: It is no `Start`, or a field of it is missing.
    """
    if request.WhichOneof("message") != "start":
        raise InvalidArgument("message", "The first message has to be `start`.")
    start = request.start
    if not start.job_id:
        raise InvalidArgument("start.job_id", "A job has to be named.")
    query = query_from_proto(start.query)
    _check_prompt(query.operation, start)
    return Job(
        job_id=start.job_id,
        attempt=start.attempt,
        query=query,
        messages=tuple(ChatMessage(m.role, m.content) for m in start.messages),
        sampling=_sampling(start.sampling),
        inputs=tuple(start.inputs),
    )


def event_to_proto(event: ExecutionEvent) -> execution_service_pb2.ExecuteResponse:
    """Return an event as the stream carries it."""
    response = execution_service_pb2.ExecuteResponse
    if isinstance(event, Delta):
        return response(delta=response.Delta(text=event.text, tokens=event.tokens))
    if isinstance(event, RouteDecision):
        return response(decision=decision_to_proto(event))
    if isinstance(event, Dispatching):
        return response(
            dispatching=response.Dispatching(
                target=event.target, client_task_id=event.client_task_id
            )
        )
    if isinstance(event, Released):
        return response(
            released=response.Released(
                target=event.target, client_task_id=event.client_task_id, reason=event.reason
            )
        )
    if isinstance(event, Started):
        return response(
            started=response.Started(
                target=event.target,
                model=event.model,
                worker_id=event.worker_id,
                model_digest=event.model_digest,
            )
        )
    if isinstance(event, Embedding):
        return response(
            embedding=inference_service_pb2.Embedding(index=event.index, values=event.values)
        )
    return response(finished=_finished(event))


def decision_to_proto(decision: RouteDecision) -> router_service_pb2.RouteDecision:
    complexity = decision.complexity
    return router_service_pb2.RouteDecision(
        target=decision.target,
        model=decision.model,
        reason=decision.reason,
        complexity=router_service_pb2.Complexity(
            score=complexity.score,
            threshold=complexity.threshold,
            words=complexity.words,
            context_characters=complexity.context_characters,
            keywords=complexity.keywords,
        ),
        explanation=decision.explanation,
        alternatives=[
            router_service_pb2.Alternative(
                target=other.target,
                eligible=other.eligible,
                reason=other.reason,
                estimated_cost_nanousd=other.estimated_cost_nanousd,
            )
            for other in decision.alternatives
        ],
        estimated_cost_nanousd=decision.estimated_cost_nanousd,
    )


def target_to_proto(state: TargetState) -> router_service_pb2.Target:
    return router_service_pb2.Target(
        target=state.name,
        available=state.available,
        paid=state.paid,
        models=[_model_to_proto(model) for model in state.models],
        slots_total=state.slots_total,
        slots_busy=state.slots_busy,
        status=state.status,
    )


def worker_from_proto(worker: worker_registry_service_pb2.Worker) -> Worker:
    """Return a worker as it announced itself.

    Raises:
        InvalidArgument: It can't be like that.
    """
    return Worker(
        worker_id=worker.worker_id,
        address=worker.address,
        models=tuple(_model_from_proto(model) for model in worker.models),
        slots_total=worker.slots_total,
        slots_busy=worker.slots_busy,
        device=worker.device,
        draining=worker.draining,
        tokens_per_second=worker.tokens_per_second,
    )


def lease_to_proto(lease: timedelta) -> int:
    """Return whole seconds, one at least."""
    return max(1, int(lease.total_seconds()))


def _finished(event: Finished) -> execution_service_pb2.ExecuteResponse.Finished:
    return execution_service_pb2.ExecuteResponse.Finished(
        finish_reason=_REASONS[event.finish_reason],
        usage=None if event.usage is None else _usage(event.usage),
        signed_result=None if event.signed_result is None else _signed(event.signed_result),
        provider_response_id=event.provider_response_id,
    )


def _signed(signed: SignedResult) -> inference_service_pb2.SignedResult:
    return inference_service_pb2.SignedResult(
        statement=signed.statement,
        key_id=signed.key_id,
        signature=signed.signature,
        public_key=signed.public_key,
    )


def _check_prompt(operation: Operation, start: execution_service_pb2.ExecuteRequest.Start) -> None:
    if operation is Operation.CHAT:
        if not start.messages:
            raise InvalidArgument("start.messages", "A prompt needs at least one message.")
        return
    most = 1 if operation is Operation.COMPLETION else MAX_EMBEDDING_INPUTS
    if not 1 <= len(start.inputs) <= most:
        raise InvalidArgument("start.inputs", f"The operation {operation} takes 1 to {most} texts.")


def _usage(usage: Usage) -> inference_service_pb2.Usage:
    return inference_service_pb2.Usage(
        tokens_input=usage.tokens_input,
        tokens_output=usage.tokens_output,
        tokens_input_cached=usage.tokens_input_cached,
    )


def _sampling(sampling: inference_service_pb2.SamplingParameters) -> Sampling:
    return Sampling(
        max_tokens=sampling.max_tokens or None,
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


def _model_from_proto(model: router_service_pb2.Model) -> Model:
    return Model(
        name=model.model,
        context_tokens=model.context_tokens,
        default_max_tokens=model.default_max_tokens,
        template_overhead_tokens=model.template_overhead_tokens,
        message_overhead_tokens=model.message_overhead_tokens,
        digest=model.model_digest,
        operations=_operations(model.operations),
    )


def _operations(
    values: Iterable[inference_service_pb2.Operation.ValueType],
) -> tuple[Operation, ...]:
    """Return what a model can do; what this release does not know is of no use here."""
    listed = tuple(values) or (inference_service_pb2.OPERATION_CHAT,)
    known = {_OPERATIONS[value] for value in listed if value in _OPERATIONS}
    return tuple(operation for operation in Operation if operation in known)


def _model_to_proto(model: Model) -> router_service_pb2.Model:
    return router_service_pb2.Model(
        model=model.name,
        context_tokens=model.context_tokens,
        default_max_tokens=model.default_max_tokens,
        template_overhead_tokens=model.template_overhead_tokens,
        message_overhead_tokens=model.message_overhead_tokens,
        model_digest=model.digest,
        operations=[_OPERATION_PROTOS[operation] for operation in model.operations],
    )
