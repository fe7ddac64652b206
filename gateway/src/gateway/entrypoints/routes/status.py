"""The gateway itself: what it is, and how it is doing. Open to everybody."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gateway.entrypoints.dependencies import EdgeParts
from gateway.entrypoints.edge import Edge
from gateway.entrypoints.schemas.status import (
    CheckView,
    HealthView,
    LiveView,
    ReadyView,
    RootView,
)
from service_kit.http_server import ReadinessChecks, readiness_response

router = APIRouter(tags=["status"])

SERVICE: Final = "gateway"
VERSION: Final = version("weir-gateway")
_FEATURES: Final = [
    "openai_compatible_chat",
    "openai_compatible_completions",
    "openai_compatible_embeddings",
    "streaming",
    "routing",
    "queued_jobs",
    "job_events",
    "receipts",
    "projects",
    "budgets",
    "cost_reports",
    "api_keys",
    "idempotency",
    "rate_limits",
]


@router.get("/")
async def get_root(edge: EdgeParts) -> RootView:
    """Say what answers here."""
    return RootView(
        service="weir",
        version=VERSION,
        status=_status(edge),
        features=_FEATURES,
        documentation="/docs",
    )


@router.get("/health")
async def get_health(edge: EdgeParts) -> HealthView:
    """Say how the gateway and everything it calls are doing, from checks in the background."""
    return HealthView(
        service=SERVICE,
        status=_status(edge),
        version=VERSION,
        checks={**_checks(edge.readiness), **_checks(edge.dependencies)},
    )


@router.get("/health/live")
async def get_live() -> LiveView:
    """Say that the process runs."""
    return LiveView(service=SERVICE, status="live")


@router.get(
    "/health/ready",
    response_model=ReadyView,
    responses={503: {"model": ReadyView, "description": "No requests should come here."}},
)
async def get_ready(edge: EdgeParts) -> JSONResponse:
    """Say whether requests should come here: they can be authenticated, and nobody drains."""
    return readiness_response(SERVICE, edge.readiness)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def get_metrics(request: Request) -> Response:
    """Return Prometheus metrics: sums only, nothing of any user or project."""
    return Response(generate_latest(request.app.state.registry), media_type=CONTENT_TYPE_LATEST)


def _status(edge: Edge) -> Literal["healthy", "degraded", "unready"]:
    if not edge.readiness.ready():
        return "unready"
    return "healthy" if edge.dependencies.ready() else "degraded"


def _checks(checks: ReadinessChecks) -> dict[str, CheckView]:
    return {
        name: CheckView(
            ok=result.ok, message=result.message, age_seconds=round(result.age_seconds, 3)
        )
        for name, result in checks.results().items()
    }
