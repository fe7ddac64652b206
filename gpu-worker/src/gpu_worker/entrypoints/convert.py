"""Between the words of the protos and the words of the domain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from google.protobuf import timestamp_pb2
from weir.worker.v1 import inference_service_pb2 as pb

from gpu_worker.domain.generation import (
    Delta,
    Embedding,
    Finished,
    FinishReason,
    GenerationEvent,
    SignedResult,
    Started,
    Usage,
)
from gpu_worker.domain.prompt import ChatMessage, Operation, Prompt, Role, Sampling
from service_kit.errors import InvalidArgument

_OPERATIONS: Final[Mapping[int, Operation]] = {
    pb.OPERATION_UNSPECIFIED: Operation.CHAT,
    pb.OPERATION_CHAT: Operation.CHAT,
    pb.OPERATION_COMPLETION: Operation.COMPLETION,
    pb.OPERATION_EMBEDDING: Operation.EMBEDDING,
}
_REASONS: Final = {
    FinishReason.STOP: pb.FINISH_REASON_STOP,
    FinishReason.LENGTH: pb.FINISH_REASON_LENGTH,
}
_ROLES: Final = {str(role): role for role in Role}


def prompt_from_proto(request: pb.GenerateRequest) -> Prompt:
    """Return the prompt of a request.

    Raises:
        InvalidArgument: An operation or a role is unknown, the operation takes something else,
            or a parameter is outside of its range.
    """
    return Prompt(
        job_id=request.job_id,
        attempt=request.attempt,
        model=request.model,
        messages=tuple(_message(message) for message in request.messages),
        sampling=_sampling(request.sampling),
        operation=_operation(request.operation),
        inputs=tuple(request.inputs),
    )


def event_to_proto(event: GenerationEvent) -> pb.GenerateResponse:
    """Return an event as the stream carries it."""
    if isinstance(event, Delta):
        return pb.GenerateResponse(
            delta=pb.GenerateResponse.Delta(text=event.text, tokens=event.tokens)
        )
    if isinstance(event, Embedding):
        return pb.GenerateResponse(embedding=pb.Embedding(index=event.index, values=event.values))
    if isinstance(event, Started):
        return pb.GenerateResponse(
            started=pb.GenerateResponse.Started(
                worker_id=event.worker_id, model=event.model, model_digest=event.model_digest
            )
        )
    return pb.GenerateResponse(finished=_finished(event))


def _finished(event: Finished) -> pb.GenerateResponse.Finished:
    started_at, finished_at = timestamp_pb2.Timestamp(), timestamp_pb2.Timestamp()
    started_at.FromDatetime(event.started_at)
    finished_at.FromDatetime(event.finished_at)
    return pb.GenerateResponse.Finished(
        finish_reason=_REASONS[event.finish_reason],
        usage=_usage(event.usage),
        started_at=started_at,
        finished_at=finished_at,
        signed_result=_signed_result(event.signed_result),
    )


def _signed_result(signed: SignedResult) -> pb.SignedResult:
    return pb.SignedResult(
        statement=signed.statement,
        key_id=signed.key_id,
        signature=signed.signature,
        public_key=signed.public_key,
    )


def _usage(usage: Usage) -> pb.Usage:
    return pb.Usage(
        tokens_input=usage.tokens_input,
        tokens_output=usage.tokens_output,
        tokens_input_cached=usage.tokens_input_cached,
    )


def _operation(value: int) -> Operation:
    operation = _OPERATIONS.get(value)
    if operation is None:
        raise InvalidArgument("operation", f"An operation is one of {', '.join(Operation)}.")
    return operation


def _message(message: pb.ChatMessage) -> ChatMessage:
    role = _ROLES.get(message.role)
    if role is None:
        raise InvalidArgument("messages.role", f"A role is one of {', '.join(_ROLES)}.")
    return ChatMessage(role, message.content)


def _sampling(sampling: pb.SamplingParameters) -> Sampling:
    return Sampling(
        # Zero is what an unset field reads as.
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
