"""Embeddings for clients of the OpenAI API."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from gateway.entrypoints import run_requests
from gateway.entrypoints.dependencies import (
    SECURITY,
    CurrentCaller,
    EdgeParts,
    HeaderProject,
    HeaderResidency,
    IdempotencyKey,
)
from gateway.entrypoints.embeddings_shape import EmbeddingsShape
from gateway.entrypoints.openai_answers import answered
from gateway.entrypoints.schemas.answers import EmbeddingsView
from gateway.entrypoints.schemas.embeddings import EmbeddingsBody
from gateway.entrypoints.strict_json import StrictJsonRoute

router = APIRouter(
    prefix="/v1", tags=["openai"], route_class=StrictJsonRoute, dependencies=list(SECURITY)
)


@router.post("/embeddings", response_model=EmbeddingsView)
async def create_embeddings(
    body: EmbeddingsBody,
    request: Request,
    edge: EdgeParts,
    _: CurrentCaller,
    project_id: HeaderProject,
    request_id: IdempotencyKey,
    residency: HeaderResidency,
) -> Response:
    """Turn texts into vectors, in their order."""
    run = run_requests.embedding_job(body, project_id, request_id, residency)
    shape = EmbeddingsShape(len(body.input), as_base64=body.encoding_format == "base64")
    return await answered(edge, request, run, shape)
