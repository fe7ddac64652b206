"""Costs and budgets. Amounts in US dollars are views; the exact ones end in `_nanousd`."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from gateway.entrypoints.schemas.base import View


class BudgetView(View):
    """The budget of the current month. `percentage_used` counts what is reserved, too."""

    project_id: str
    period: str
    has_budget: bool
    budget_allocated: float
    budget_allocated_nanousd: int
    actual_cost: float
    actual_cost_nanousd: int
    reserved: float
    reserved_nanousd: int
    remaining_budget: float
    remaining_budget_nanousd: int
    percentage_used: float
    status: Literal["no_budget_set", "ok", "warning", "critical", "exceeded"]


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
