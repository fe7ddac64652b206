"""Costs. Amounts in US dollars are views; the exact ones end in `_nanousd`."""

from __future__ import annotations

from datetime import datetime

from gateway.entrypoints.schemas.base import View


class JobCostView(View):
    """What a job cost."""

    job_id: str
    project_id: str
    settled: bool
    estimated_cost: float
    estimated_cost_nanousd: int
    actual_cost: float | None
    """`null` until it is settled."""
    actual_cost_nanousd: int | None
    target: str
    model: str
    tokens_used_input: int
    tokens_used_output: int
    tokens_used_total: int
    price_version: str
    settled_at: datetime | None
