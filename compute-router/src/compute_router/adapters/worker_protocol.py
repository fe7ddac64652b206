"""Between the words of a worker's RPCs and the words of the domain."""

from __future__ import annotations

from typing import Final

from weir.worker.v1 import inference_service_pb2 as pb

from compute_router.domain.execution import (
    Delta,
    Embedding,
    Finished,
    FinishReason,
    Sampling,
    SignedResult,
    Started,
    TargetEvent,
    Task,
    Usage,
)
from compute_router.domain.operation import Operation

_OPERATIONS: Final = {
    Operation.CHAT: pb.OPERATION_CHAT,
    Operation.COMPLETION: pb.OPERATION_COMPLETION,
    Operation.EMBEDDING: pb.OPERATION_EMBEDDING,
}
_REASONS: Final = {
    pb.FINISH_REASON_UNSPECIFIED: FinishReason.STOP,
    pb.FINISH_REASON_STOP: FinishReason.STOP,
    pb.FINISH_REASON_LENGTH: FinishReason.LENGTH,
    pb.FINISH_REASON_CANCELLED: FinishReason.CANCELLED,
}


def request_of(task: Task) -> pb.GenerateRequest:
    """Return what a worker is sent for a task."""
    return pb.GenerateRequest(
        job_id=task.job.job_id,
        attempt=task.job.attempt,
        model=task.model,
        messages=[
            pb.ChatMessage(role=message.role, content=message.content)
            for message in task.job.messages
        ],
        sampling=_sampling(task.job.sampling),
        operation=_OPERATIONS[task.job.operation],
        inputs=task.job.inputs,
    )


def event_of(response: pb.GenerateResponse, target: str) -> TargetEvent | None:
    """Return the event of a response, or `None` for one that this release does not know."""
    kind = response.WhichOneof("event")
    if kind == "delta":
        return Delta(response.delta.text, response.delta.tokens)
    if kind == "started":
        started = response.started
        return Started(target, started.model, started.worker_id, started.model_digest)
    if kind == "embedding":
        return Embedding(response.embedding.index, tuple(response.embedding.values))
    if kind == "finished":
        return _finished(response.finished)
    return None


def _finished(finished: pb.GenerateResponse.Finished) -> Finished:
    usage = finished.usage
    return Finished(
        _REASONS.get(finished.finish_reason, FinishReason.STOP),
        Usage(usage.tokens_input, usage.tokens_output, usage.tokens_input_cached)
        if finished.HasField("usage")
        else None,
        _signed_result(finished.signed_result) if finished.HasField("signed_result") else None,
    )


def _signed_result(signed: pb.SignedResult) -> SignedResult:
    return SignedResult(signed.statement, signed.key_id, signed.signature, signed.public_key)


def _sampling(sampling: Sampling) -> pb.SamplingParameters:
    # A field that is given `None` stays unset.
    return pb.SamplingParameters(
        max_tokens=sampling.max_tokens or 0,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        seed=sampling.seed,
        stop=sampling.stop,
        frequency_penalty=sampling.frequency_penalty,
        presence_penalty=sampling.presence_penalty,
    )
