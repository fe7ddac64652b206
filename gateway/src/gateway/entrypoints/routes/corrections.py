"""What is booked for a job: its charge, refunds and surcharges."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from weir.cost.v1 import correction_service_pb2 as pb

from gateway.entrypoints import convert_costs
from gateway.entrypoints.dependencies import (
    SECURITY,
    CurrentCaller,
    EdgeParts,
    NamedProject,
    RequiredIdempotencyKey,
)
from gateway.entrypoints.routes.costs import JobCostNotFound
from gateway.entrypoints.routes.jobs import in_project
from gateway.entrypoints.schemas.corrections import (
    CorrectionBody,
    LedgerEntriesView,
    LedgerEntryView,
)
from gateway.entrypoints.strict_json import StrictJsonRoute
from service_kit.ids import is_uuid

router = APIRouter(
    prefix="/api/v1/costs/jobs/{job_id}",
    tags=["costs"],
    route_class=StrictJsonRoute,
    dependencies=list(SECURITY),
)


@router.get("/entries")
async def list_job_entries(
    job_id: str,
    edge: EdgeParts,
    caller: CurrentCaller,
    project_id: NamedProject,
    page_size: Annotated[int, Query(ge=1, le=100)] = 50,
    page_token: Annotated[str, Query(max_length=512)] = "",
) -> LedgerEntriesView:
    """List what was booked for a job, oldest first."""
    _require_job_id(job_id)
    page = await in_project(
        edge,
        caller,
        project_id,
        lambda project: edge.corrections.list_entries(
            pb.ListJobEntriesRequest(
                project_id=project, job_id=job_id, page_size=page_size, page_token=page_token
            )
        ),
    )
    return LedgerEntriesView(
        entries=[convert_costs.ledger_entry_view(entry) for entry in page.entries],
        next_page_token=page.next_page_token,
    )


@router.post("/refunds", status_code=201)
async def refund_job(
    job_id: str,
    body: CorrectionBody,
    edge: EdgeParts,
    _: CurrentCaller,
    request_id: RequiredIdempotencyKey,
) -> LedgerEntryView:
    """Give back some of a job's charge; for administrators, in person.

    Needs an `Idempotency-Key`. All refunds together never exceed the charge and its surcharges.
    """
    _require_job_id(job_id)
    entry = await edge.corrections.refund(
        pb.RefundJobRequest(
            request_id=request_id,
            job_id=job_id,
            admission=body.admission or 0,
            amount_nanousd=body.amount,
            reason=body.reason,
        )
    )
    return convert_costs.ledger_entry_view(entry)


@router.post("/surcharges", status_code=201)
async def surcharge_job(
    job_id: str,
    body: CorrectionBody,
    edge: EdgeParts,
    _: CurrentCaller,
    request_id: RequiredIdempotencyKey,
) -> LedgerEntryView:
    """Charge more for a job; for administrators, in person.

    Needs an `Idempotency-Key`. It books even where the budget has too little left.
    """
    _require_job_id(job_id)
    entry = await edge.corrections.surcharge(
        pb.SurchargeJobRequest(
            request_id=request_id,
            job_id=job_id,
            admission=body.admission or 0,
            amount_nanousd=body.amount,
            reason=body.reason,
        )
    )
    return convert_costs.ledger_entry_view(entry)


def _require_job_id(job_id: str) -> None:
    if not is_uuid(job_id):
        raise JobCostNotFound(job_id[:64])
