"""What a job did and cost, signed, and the keys to verify that."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Response

from gateway.entrypoints.dependencies import (
    SECURITY,
    CurrentCaller,
    EdgeParts,
    NamedProject,
    limit_by_address,
)
from gateway.entrypoints.receipts import receipt_key_view, receipt_view
from gateway.entrypoints.routes.jobs import JobNotFound, in_project
from gateway.entrypoints.schemas.receipts import ReceiptKeysView, ReceiptView
from service_kit.ids import is_uuid

router = APIRouter(tags=["receipts"])


@router.get("/api/v1/jobs/{job_id}/receipt", dependencies=list(SECURITY))
async def get_receipt(
    job_id: str, edge: EdgeParts, caller: CurrentCaller, project_id: NamedProject
) -> ReceiptView:
    """Return the signed receipt of a job in a final state."""
    if not is_uuid(job_id):
        raise JobNotFound(job_id[:64])
    receipt = await in_project(
        edge, caller, project_id, lambda project: edge.jobs.get_receipt(project, job_id)
    )
    return receipt_view(receipt)


@router.get("/.well-known/weir-receipt-keys.json", dependencies=[Depends(limit_by_address)])
async def list_receipt_keys(response: Response, edge: EdgeParts) -> ReceiptKeysView:
    """Return every public key that signed a receipt; open to everybody."""
    response.headers["cache-control"] = "public, max-age=60"
    keys = await edge.receipt_keys()
    return ReceiptKeysView(keys=[receipt_key_view(key) for key in keys])
