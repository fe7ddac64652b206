"""Costs. Amounts in US dollars are views; the exact ones end in `_nanousd`."""

from __future__ import annotations

from datetime import datetime

from gateway.entrypoints.schemas.base import View


class DayCostView(View):
    """What one day (UTC) cost."""

    day: str
    cost: float
    cost_nanousd: int
    jobs: int


class ProjectCostsView(View):
    """What a project cost in the last days."""

    project_id: str
    total_cost: float
    total_cost_nanousd: int
    total_jobs: int
    completed_jobs: int
    failed_jobs: int
    average_cost_per_job: float
    average_cost_per_job_nanousd: int
    period_days: int
    trend: list[DayCostView]


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
