"""Reports: what work cost, what it could have cost, and the entries behind the figures."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from weir.cost.v1 import report_service_pb2 as pb

from gateway.entrypoints import report_views
from gateway.entrypoints.dependencies import (
    SECURITY,
    CurrentCaller,
    EdgeParts,
    checked_project_id,
    checked_team_id,
)
from gateway.entrypoints.downloads import Download
from gateway.entrypoints.export_forms import ComputeJobsJson, CostsCsv
from gateway.entrypoints.schemas.reports import (
    ComputeJobView,
    PlatformCostsView,
    ProjectCostsView,
    SavingsView,
    SuggestionsView,
    TeamCostsView,
)

router = APIRouter(prefix="/api/v1/costs", tags=["costs"], dependencies=list(SECURITY))

PeriodDays = Annotated[int, Query(ge=1, le=366)]
Day = Annotated[
    str, Query(pattern=r"^([0-9]{4}-[0-9]{2}-[0-9]{2})?$", description="`YYYY-MM-DD`, UTC.")
]


@router.get("/report")
async def get_platform_report(
    edge: EdgeParts, _: CurrentCaller, period_days: PeriodDays = 30
) -> PlatformCostsView:
    """Return what everything cost. For platform administrators, in person."""
    return report_views.platform_costs_view(await edge.reports.platform_report(period_days))


@router.get("/teams/{team_id}")
async def get_team_costs(
    team_id: str, edge: EdgeParts, _: CurrentCaller, period_days: PeriodDays = 30
) -> TeamCostsView:
    """Return what a team's projects cost, to its members and to platform administrators."""
    return report_views.team_costs_view(
        await edge.reports.team_report(checked_team_id(team_id), period_days)
    )


@router.get("/projects/{project_id}")
async def get_project_costs(
    project_id: str, edge: EdgeParts, _: CurrentCaller, period_days: PeriodDays = 30
) -> ProjectCostsView:
    """Return what a project cost in the last days."""
    report = await edge.reports.project_report(checked_project_id(project_id), period_days)
    return report_views.project_costs_view(report)


@router.get("/projects/{project_id}/savings")
async def get_savings(
    project_id: str, edge: EdgeParts, _: CurrentCaller, period_days: PeriodDays = 30
) -> SavingsView:
    """Return what a project's work would have cost all-local, and on each priced cloud model."""
    savings = await edge.reports.savings(checked_project_id(project_id), period_days)
    return report_views.savings_view(savings)


@router.get("/projects/{project_id}/suggestions")
async def get_suggestions(
    project_id: str, edge: EdgeParts, _: CurrentCaller, period_days: PeriodDays = 30
) -> SuggestionsView:
    """Return what could make a project's work cheaper, with the figures that say so."""
    found = await edge.reports.suggestions(checked_project_id(project_id), period_days)
    return report_views.suggestions_view(found)


@router.get(
    "/projects/{project_id}/export.csv",
    response_class=Response,
    responses={
        200: {
            "description": "A header, then one line for each ledger entry in the order of booking.",
            "content": {"text/csv": {"schema": {"type": "string"}}},
        }
    },
)
async def export_costs(
    project_id: str, edge: EdgeParts, _: CurrentCaller, first_day: Day = "", last_day: Day = ""
) -> Response:
    """Return the ledger entries of some days, both included; of the last 30 if none is named."""
    request = pb.ExportCostsRequest(
        project_id=checked_project_id(project_id), first_day=first_day, last_day=last_day
    )
    pages = edge.reports.export_costs(request)
    return await Download.begin(pages, CostsCsv(), "text/csv; charset=utf-8", "costs.csv")


@router.get(
    "/projects/{project_id}/compute-jobs",
    response_class=Response,
    responses={
        200: {
            "description": "Jobs that ran, in the order of booking.",
            "model": list[ComputeJobView],
        }
    },
)
async def export_compute_jobs(
    project_id: str, edge: EdgeParts, _: CurrentCaller, first_day: Day = "", last_day: Day = ""
) -> Response:
    """Return the jobs of some days that ran, in the documents' shape; of the last 30 if none."""
    request = pb.ExportComputeJobsRequest(
        project_id=checked_project_id(project_id), first_day=first_day, last_day=last_day
    )
    pages = edge.reports.export_compute_jobs(request)
    return await Download.begin(pages, ComputeJobsJson(), "application/json", "compute-jobs.json")
