"""What is booked for a job: its charge, and corrections of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from gateway.entrypoints.schemas.base import RequestBody, UsdAmount, View


class CorrectionBody(RequestBody):
    """A refund or surcharge."""

    amount: Annotated[UsdAmount, Field(gt=0)]
    reason: Annotated[str, Field(min_length=1, max_length=1000)]
    """For the tenant and the audit trail; more than 200 characters are cut off."""
    admission: Annotated[int, Field(ge=1, le=999_999_999)] | None = None
    """Which admission's charge, for a job that was retried; the latest charge otherwise."""


class LedgerEntryView(View):
    """One row of the ledger. Amounts are never negative: the kind gives the sign."""

    entry_id: int
    kind: Literal["post", "void", "refund", "surcharge"]
    job_id: str
    project_id: str
    admission: int
    amount: float
    amount_nanousd: int
    reason: str | None
    period: str
    price_version: str
    created_at: datetime


class LedgerEntriesView(View):
    """A page of a job's entries, oldest first."""

    entries: list[LedgerEntryView]
    next_page_token: str
