"""Dry runs of the router."""

from __future__ import annotations

from fastapi import APIRouter

from gateway.entrypoints import convert
from gateway.entrypoints.dependencies import SECURITY, CurrentCaller, EdgeParts, HeaderProject
from gateway.entrypoints.schemas.routing import DecisionView, RouteBody
from gateway.entrypoints.strict_json import StrictJsonRoute

router = APIRouter(
    prefix="/api/v1/route",
    tags=["routing"],
    route_class=StrictJsonRoute,
    dependencies=list(SECURITY),
)


@router.post("")
async def explain_route(
    body: RouteBody, edge: EdgeParts, caller: CurrentCaller, project_id: HeaderProject
) -> DecisionView:
    """Decide where a prompt would run, and why, without running it."""
    await edge.access.require(caller, project_id, "models:read")
    return convert.decision_view(await edge.router.explain_route(convert.route_query(body)))
