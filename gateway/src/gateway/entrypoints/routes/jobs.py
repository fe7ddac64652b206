"""Queued jobs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from fastapi import APIRouter, Query, Response
from weir.job.v1 import job_service_pb2 as pb

from gateway.entrypoints import convert
from gateway.entrypoints.dependencies import (
    SECURITY,
    CurrentCaller,
    EdgeParts,
    HeaderProject,
    IdempotencyKey,
    NamedProject,
    one_project,
)
from gateway.entrypoints.edge import Edge
from gateway.entrypoints.schemas.jobs import CreateJobBody, JobStateName, JobsView, JobView
from gateway.entrypoints.strict_json import StrictJsonRoute
from service_kit.errors import ErrorCode, ServiceError
from service_kit.ids import is_uuid
from service_kit.request_context import Caller

T = TypeVar("T")

router = APIRouter(
    prefix="/api/v1/jobs", tags=["jobs"], route_class=StrictJsonRoute, dependencies=list(SECURITY)
)


class JobNotFound(ServiceError):
    """The job does not exist, or is another tenant's: both read the same."""

    code = ErrorCode.NOT_FOUND
    reason = "JOB_NOT_FOUND"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"Job {job_id} does not exist.", metadata={"job_id": job_id})


@router.post("", status_code=202)
async def create_job(
    body: CreateJobBody,
    response: Response,
    edge: EdgeParts,
    _: CurrentCaller,
    header_project: HeaderProject,
    request_id: IdempotencyKey,
) -> JobView:
    """Queue a job. While its budget refuses it, it waits as `blocked`."""
    project_id = one_project(body.project_id or "", header_project)
    job = await edge.jobs.create_job(convert.create_job_request(body, project_id, request_id))
    response.headers["Location"] = f"{router.prefix}/{job.job_id}"
    return convert.job_view(job, with_result=True)


@router.get("")
async def list_jobs(
    edge: EdgeParts,
    _: CurrentCaller,
    project_id: NamedProject,
    page_size: Annotated[int, Query(ge=1, le=100)] = 50,
    page_token: Annotated[str, Query(max_length=512)] = "",
    state: JobStateName | None = None,
) -> JobsView:
    """List the jobs of one project, newest first."""
    page = await edge.jobs.list_jobs(
        pb.ListJobsRequest(
            project_id=project_id,
            page_size=page_size,
            page_token=page_token,
            state=convert.JOB_STATES_BY_NAME[state] if state else pb.JOB_STATE_UNSPECIFIED,
        )
    )
    return JobsView(
        jobs=[convert.job_view(job, with_result=False) for job in page.jobs],
        next_page_token=page.next_page_token,
    )


@router.get("/{job_id}")
async def get_job(
    job_id: str, edge: EdgeParts, caller: CurrentCaller, project_id: NamedProject
) -> JobView:
    """Return a job with its result, from whichever of the caller's projects it is in."""
    if not is_uuid(job_id):
        raise JobNotFound(job_id[:64])
    job = await in_project(
        edge, caller, project_id, lambda project: edge.jobs.get_job(project, job_id)
    )
    return convert.job_view(job, with_result=True)


@router.post("/{job_id}/cancel")
async def cancel_job(
    job_id: str, edge: EdgeParts, caller: CurrentCaller, project_id: NamedProject
) -> JobView:
    """Ask a job to stop, and return it as it is now.

    One that waits is `cancelled` at once. One that runs is a moment later, when its engine has
    stopped; what it made until then is charged. Asking again changes nothing.
    """
    project_id = await project_of(edge, caller, project_id, job_id)
    job = await edge.jobs.cancel_job(project_id, job_id)
    return convert.job_view(job, with_result=True)


@router.post("/{job_id}/retry", status_code=202)
async def retry_job(
    job_id: str,
    edge: EdgeParts,
    caller: CurrentCaller,
    project_id: NamedProject,
    request_id: IdempotencyKey,
) -> JobView:
    """Run a queued job again that failed, was cancelled, or is a dead letter.

    It is held anew, at the prices of now; what it was charged before stays. A job that was
    retried before and has not ended is returned as it is; one that has ended again is run again
    with another Idempotency-Key.
    """
    project_id = await project_of(edge, caller, project_id, job_id)
    job = await edge.jobs.retry_job(
        pb.RetryJobRequest(project_id=project_id, job_id=job_id, request_id=request_id)
    )
    return convert.job_view(job, with_result=True)


async def project_of(edge: Edge, caller: Caller, project_id: str, job_id: str) -> str:
    """Return the project to change a job in: that named, or whichever of a person's has it.

    Raises:
        JobNotFound: There can be no such job.
    """
    if not is_uuid(job_id):
        raise JobNotFound(job_id[:64])
    if project_id or caller.kind == "api_key":
        return project_id
    # Looked for by reading, which every member may; who may not change it there learns so.
    found = await edge.find_in_projects(lambda project: edge.jobs.get_job(project, job_id))
    return found.project_id


async def in_project(
    edge: Edge, caller: Caller, project_id: str, read: Callable[[str], Awaitable[T]]
) -> T:
    """Read something in the project named, or in whichever of a person's projects has it.

    An API key belongs to one project, so there is nowhere else to look.
    """
    if project_id or caller.kind == "api_key":
        return await read(project_id)
    return await edge.find_in_projects(read)
