"""What job-service is asked to run, from the bodies of the OpenAI API."""

from __future__ import annotations

from typing import Final

from weir.job.v1 import job_service_pb2 as pb
from weir.router.v1 import router_service_pb2 as router_pb
from weir.worker.v1 import inference_service_pb2 as worker_pb

from gateway.entrypoints.schemas.chat import ChatCompletionBody
from gateway.entrypoints.schemas.completions import CompletionBody
from gateway.entrypoints.schemas.embeddings import EmbeddingsBody
from gateway.entrypoints.schemas.sampling import SamplingBody

# `developer` is what newer clients call `system`.
_CHAT_ROLES: Final = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}


def chat_job(
    body: ChatCompletionBody,
    project_id: str,
    request_id: str,
    residency: router_pb.Residency.ValueType,
) -> pb.RunJobRequest:
    messages = [
        worker_pb.ChatMessage(role=_CHAT_ROLES[message.role], content=message.content)
        for message in body.messages
    ]
    return pb.RunJobRequest(
        project_id=project_id,
        request_id=request_id,
        specification=pb.JobSpecification(
            type="chat_completion",
            model=body.model,
            messages=messages,
            sampling=_sampling(body),
            residency=residency,
        ),
    )


def completion_job(
    body: CompletionBody, project_id: str, request_id: str, residency: router_pb.Residency.ValueType
) -> pb.RunJobRequest:
    return pb.RunJobRequest(
        project_id=project_id,
        request_id=request_id,
        specification=pb.JobSpecification(
            type="completion",
            model=body.model,
            inputs=[body.prompt],
            sampling=_sampling(body),
            residency=residency,
        ),
    )


def embedding_job(
    body: EmbeddingsBody, project_id: str, request_id: str, residency: router_pb.Residency.ValueType
) -> pb.RunJobRequest:
    return pb.RunJobRequest(
        project_id=project_id,
        request_id=request_id,
        specification=pb.JobSpecification(
            type="embedding",
            model=body.model,
            inputs=body.input,
            residency=residency,
        ),
    )


def _sampling(body: SamplingBody) -> worker_pb.SamplingParameters:
    return worker_pb.SamplingParameters(
        max_tokens=body.token_limit,
        temperature=body.temperature,
        top_p=body.top_p,
        seed=body.seed,
        stop=body.stop_texts,
        frequency_penalty=body.frequency_penalty,
        presence_penalty=body.presence_penalty,
    )
