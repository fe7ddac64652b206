"""What work has cost, in total and by what the entries have in common."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Dimension(StrEnum):
    """By what the entries of a report are put together. The values are columns of the ledger."""

    DAY = "day"
    TARGET = "target"
    MODEL = "model"
    JOB_TYPE = "job_type"
    API_KEY = "api_key_id"
    PROJECT = "project_id"
    TEAM = "team_id"


@dataclass(frozen=True, slots=True)
class CostSums:
    """Sums over entries.

    A job counts where its last settlement of the period is, so that the jobs of all days, of
    all targets and so on each add up to all jobs.
    """

    cost_nanousd: int = 0
    provider_cost_nanousd: int = 0
    jobs: int = 0
    completed_jobs: int = 0
    failed_jobs: int = 0
    cancelled_jobs: int = 0
    tokens_input: int = 0
    tokens_output: int = 0


@dataclass(frozen=True, slots=True)
class CostShare:
    """The sums of the entries that share a name: a day, target, model, job type, or id."""

    name: str
    sums: CostSums


@dataclass(frozen=True, slots=True)
class CostReport:
    """The sums of a period, and its shares: days oldest first, all others dearest first."""

    period_days: int
    begins_at: datetime
    ends_at: datetime
    total: CostSums
    days: tuple[CostShare, ...] = ()
    targets: tuple[CostShare, ...] = ()
    models: tuple[CostShare, ...] = ()
    job_types: tuple[CostShare, ...] = ()
    api_keys: tuple[CostShare, ...] = ()
    projects: tuple[CostShare, ...] = ()
    teams: tuple[CostShare, ...] = ()
