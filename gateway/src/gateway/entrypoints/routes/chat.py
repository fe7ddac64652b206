"""Chat completions for clients of the OpenAI API."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from gateway.entrypoints import run_requests
from gateway.entrypoints.chat_shape import ChatShape
from gateway.entrypoints.dependencies import (
    SECURITY,
    CurrentCaller,
    EdgeParts,
    HeaderProject,
    HeaderResidency,
    IdempotencyKey,
)
from gateway.entrypoints.openai_answers import answered, streamed
from gateway.entrypoints.schemas.answers import ChatCompletionView
from gateway.entrypoints.schemas.chat import ChatCompletionBody
from gateway.entrypoints.strict_json import StrictJsonRoute

router = APIRouter(
    prefix="/v1", tags=["openai"], route_class=StrictJsonRoute, dependencies=list(SECURITY)
)


@router.post(
    "/chat/completions",
    response_model=ChatCompletionView,
    responses={
        200: {
            "description": "The answer; with `stream: true`, chunks and then `[DONE]`.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    },
)
async def create_chat_completion(
    body: ChatCompletionBody,
    request: Request,
    edge: EdgeParts,
    _: CurrentCaller,
    project_id: HeaderProject,
    request_id: IdempotencyKey,
    residency: HeaderResidency,
) -> Response:
    """Run a chat completion where it is cheapest to answer well."""
    run = run_requests.chat_job(body, project_id, request_id, residency)
    if body.stream:
        return streamed(edge, run, ChatShape(), include_usage=body.include_usage)
    return await answered(edge, request, run, ChatShape())
