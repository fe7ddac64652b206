"""What work has cost, as people ask for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class DayCost:
    """One day (UTC), `YYYY-MM-DD`, on which something was charged."""

    day: str
    cost_nanousd: int
    jobs: int


@dataclass(frozen=True, slots=True)
class ProjectCosts:
    """What a project was charged in the last `period_days` days, by the day of booking."""

    project_id: str
    period_days: int
    total_cost_nanousd: int
    total_jobs: int
    completed_jobs: int
    failed_jobs: int
    days: tuple[DayCost, ...]


@dataclass(frozen=True, slots=True)
class JobCost:
    """What one job was charged over all its admissions; texts are of the last one."""

    job_id: str
    project_id: str
    held_nanousd: int
    charged_nanousd: int
    settled: bool
    target: str
    model: str
    tokens_input: int
    tokens_output: int
    price_version: str
    settled_at: datetime | None
