"""Jobs that Weir gave up on: look at them, run them again, or remove what they contained."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from weir.job.v1 import dead_letter_service_pb2 as pb

from gateway.entrypoints import convert
from gateway.entrypoints.dead_letters import dead_letter_view, redrive_request, redriven_view
from gateway.entrypoints.dependencies import (
    SECURITY,
    CurrentCaller,
    EdgeParts,
    HeaderProject,
    IdempotencyKey,
    NamedProject,
    one_project,
)
from gateway.entrypoints.routes.jobs import JobNotFound, in_project, project_of
from gateway.entrypoints.schemas.dead_letters import (
    DeadLettersView,
    DeadLetterView,
    FailureReason,
    RedriveBody,
    RedrivenView,
)
from gateway.entrypoints.schemas.jobs import JobType, JobView
from gateway.entrypoints.strict_json import StrictJsonRoute
from service_kit.ids import is_uuid

router = APIRouter(
    prefix="/api/v1/dead-letters",
    tags=["dead letters"],
    route_class=StrictJsonRoute,
    dependencies=list(SECURITY),
)


@router.get("")
async def list_dead_letters(
    edge: EdgeParts,
    _: CurrentCaller,
    project_id: NamedProject,
    page_size: Annotated[int, Query(ge=1, le=100)] = 50,
    page_token: Annotated[str, Query(max_length=512)] = "",
    job_type: Annotated[JobType | None, Query(alias="type")] = None,
    failure_reason: FailureReason | None = None,
) -> DeadLettersView:
    """List the dead letters of one project; those that died last come first."""
    page = await edge.dead_letters.list(
        pb.ListDeadLettersRequest(
            project_id=project_id,
            page_size=page_size,
            page_token=page_token,
            type=job_type or "",
            failure_reason=failure_reason or "",
        )
    )
    return DeadLettersView(
        dead_letters=[convert.job_view(job, with_result=False) for job in page.jobs],
        next_page_token=page.next_page_token,
    )


@router.post("/redrive", status_code=202)
async def redrive_dead_letters(
    body: RedriveBody,
    edge: EdgeParts,
    _: CurrentCaller,
    header_project: HeaderProject,
    request_id: IdempotencyKey,
) -> RedrivenView:
    """Run many dead letters of one project again, those that died first first.

    An Idempotency-Key stands for one selection, and runs each of it once. What dies again, or has
    died since, is run with another key.
    """
    project_id = one_project(body.project_id or "", header_project)
    request = redrive_request(body, project_id, request_id)
    return redriven_view(await edge.dead_letters.redrive_many(request))


@router.get("/{job_id}")
async def get_dead_letter(
    job_id: str, edge: EdgeParts, caller: CurrentCaller, project_id: NamedProject
) -> DeadLetterView:
    """Return a dead letter with every attempt, every event, and what it was charged."""
    if not is_uuid(job_id):
        raise JobNotFound(job_id[:64])
    found = await in_project(
        edge, caller, project_id, lambda project: edge.dead_letters.get(project, job_id)
    )
    return dead_letter_view(found)


@router.post("/{job_id}/redrive", status_code=202)
async def redrive_dead_letter(
    job_id: str,
    edge: EdgeParts,
    caller: CurrentCaller,
    project_id: NamedProject,
    request_id: IdempotencyKey,
) -> JobView:
    """Run a dead letter again: held anew, at the prices of now.

    One that was redriven before and has not ended is returned as it is. An Idempotency-Key runs a
    dead letter once: a job that died again is run again with another key. Where it was refused,
    nothing was written, and the same key may be used.
    """
    project_id = await project_of(edge, caller, project_id, job_id)
    job = await edge.dead_letters.redrive(
        pb.RedriveDeadLetterRequest(project_id=project_id, job_id=job_id, request_id=request_id)
    )
    return convert.job_view(job, with_result=True)


@router.delete("/{job_id}", status_code=204)
async def purge_dead_letter(
    job_id: str, edge: EdgeParts, caller: CurrentCaller, project_id: NamedProject
) -> None:
    """Remove a dead letter's prompt, error texts and answer for good; what it cost stays."""
    project_id = await project_of(edge, caller, project_id, job_id)
    await edge.dead_letters.purge(project_id, job_id)
