"""Completions of a text for clients of the OpenAI API."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from gateway.entrypoints import run_requests
from gateway.entrypoints.completion_shape import CompletionShape
from gateway.entrypoints.dependencies import (
    SECURITY,
    CurrentCaller,
    EdgeParts,
    HeaderProject,
    HeaderResidency,
    IdempotencyKey,
)
from gateway.entrypoints.openai_answers import answered, streamed
from gateway.entrypoints.schemas.answers import CompletionView
from gateway.entrypoints.schemas.completions import CompletionBody
from gateway.entrypoints.strict_json import StrictJsonRoute

router = APIRouter(
    prefix="/v1", tags=["openai"], route_class=StrictJsonRoute, dependencies=list(SECURITY)
)


@router.post(
    "/completions",
    response_model=CompletionView,
    responses={
        200: {
            "description": "The text that follows; with `stream: true`, pieces and then `[DONE]`.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    },
)
async def create_completion(
    body: CompletionBody,
    request: Request,
    edge: EdgeParts,
    _: CurrentCaller,
    project_id: HeaderProject,
    request_id: IdempotencyKey,
    residency: HeaderResidency,
) -> Response:
    """Continue a text, with no chat template around it."""
    run = run_requests.completion_job(body, project_id, request_id, residency)
    if body.stream:
        return streamed(edge, run, CompletionShape(), include_usage=body.include_usage)
    return await answered(edge, request, run, CompletionShape())
