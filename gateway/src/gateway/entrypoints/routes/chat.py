"""Chat completions for clients of the OpenAI API."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from weir.job.v1 import job_service_pb2 as pb

from gateway.entrypoints import convert
from gateway.entrypoints.completion import Completion
from gateway.entrypoints.completion_stream import CompletionStream
from gateway.entrypoints.dependencies import (
    SECURITY,
    CurrentCaller,
    EdgeParts,
    HeaderProject,
    IdempotencyKey,
)
from gateway.entrypoints.disconnection import until_disconnect
from gateway.entrypoints.edge import Edge
from gateway.entrypoints.schemas.chat import CompletionBody
from gateway.entrypoints.schemas.completion import CompletionView
from gateway.entrypoints.strict_json import StrictJsonRoute
from service_kit.errors import ServiceError

router = APIRouter(
    prefix="/v1", tags=["openai"], route_class=StrictJsonRoute, dependencies=list(SECURITY)
)

_CLIENT_LEFT = 499


@router.post(
    "/chat/completions",
    response_model=CompletionView,
    responses={
        200: {
            "description": "The answer; with `stream: true`, chunks and then `[DONE]`.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    },
)
async def create_chat_completion(
    body: CompletionBody,
    request: Request,
    edge: EdgeParts,
    _: CurrentCaller,
    project_id: HeaderProject,
    request_id: IdempotencyKey,
) -> Response:
    """Run a chat completion where it is cheapest to answer well."""
    run = convert.run_job_request(body, project_id, request_id)
    if body.stream:
        return CompletionStream(
            edge.jobs,
            run,
            timeout_seconds=edge.completion_seconds,
            keep_alive_seconds=edge.keep_alive_seconds,
            include_usage=body.include_usage,
        )
    answer = await until_disconnect(request.receive, _complete(edge, run))
    return answer or Response(status_code=_CLIENT_LEFT)


async def _complete(edge: Edge, run: pb.RunJobRequest) -> Response:
    completion = Completion(run.specification.model)
    try:
        async with edge.jobs.run_job(run, edge.completion_seconds) as running:
            await completion.follow(running)
    except ServiceError as error:
        return completion.failure(error)
    return JSONResponse(completion.whole(), headers=completion.headers())
