"""Budgets, and what single jobs cost."""

from __future__ import annotations

from fastapi import APIRouter

from gateway.entrypoints import convert
from gateway.entrypoints.dependencies import (
    SECURITY,
    CurrentCaller,
    EdgeParts,
    NamedProject,
)
from gateway.entrypoints.routes.jobs import in_project
from gateway.entrypoints.schemas.costs import JobCostView
from service_kit.errors import ErrorCode, ServiceError
from service_kit.ids import is_uuid

router = APIRouter(prefix="/api/v1/costs", tags=["costs"], dependencies=list(SECURITY))


class JobCostNotFound(ServiceError):
    """Nothing is booked or held for this job."""

    code = ErrorCode.NOT_FOUND
    reason = "JOB_COST_NOT_FOUND"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"No cost of job {job_id} is known.", metadata={"job_id": job_id})


@router.get("/jobs/{job_id}")
async def get_job_cost(
    job_id: str, edge: EdgeParts, caller: CurrentCaller, project_id: NamedProject
) -> JobCostView:
    """Return what a job cost."""
    if not is_uuid(job_id):
        raise JobCostNotFound(job_id[:64])
    cost = await in_project(
        edge, caller, project_id, lambda project: edge.costs.job_cost(project, job_id)
    )
    return convert.job_cost_view(cost)
