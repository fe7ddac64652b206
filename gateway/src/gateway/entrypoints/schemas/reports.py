"""Reports. Amounts in US dollars are views; the exact ones end in `_nanousd`."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from gateway.entrypoints.schemas.base import View

SuggestionName = Literal[
    "simple_work_in_cloud",
    "cheaper_target",
    "failed_work",
    "uncharged_provider_cost",
    "repeated_jobs",
    "holds_above_charges",
    "budget_nearly_used",
]


class CostSumsView(View):
    """The sums of what has something in common.

    A job counts where its last settlement of the period is, so that the jobs of a list add up.
    """

    cost: float
    cost_nanousd: int
    provider_cost: float
    """What targets cost us, paid or owed."""
    provider_cost_nanousd: int
    jobs: int
    completed_jobs: int
    failed_jobs: int
    cancelled_jobs: int
    tokens_used_input: int
    tokens_used_output: int
    tokens_used_total: int


class DayCostView(CostSumsView):
    """What one day (UTC) cost."""

    day: str


class NamedCostView(CostSumsView):
    """What one target, model, job type, API key, project or team cost."""

    name: str


class CostReportView(View):
    """What work cost in the `period_days` times 24 hours up to now."""

    period_days: int
    begins_at: datetime
    ends_at: datetime
    total_cost: float
    total_cost_nanousd: int
    total_jobs: int
    completed_jobs: int
    failed_jobs: int
    cancelled_jobs: int
    average_cost_per_job: float
    average_cost_per_job_nanousd: int
    provider_cost: float
    """What targets cost us, paid or owed."""
    provider_cost_nanousd: int
    tokens_used_input: int
    tokens_used_output: int
    tokens_used_total: int
    trend: list[DayCostView]
    """Days with entries, oldest first."""
    targets: list[NamedCostView]
    """This and the following dearest first, 100 at most; what has no name is not listed."""
    models: list[NamedCostView]
    job_types: list[NamedCostView]


class ProjectCostsView(CostReportView):
    """What a project cost."""

    project_id: str
    api_keys: list[NamedCostView]


class TeamCostsView(CostReportView):
    """What a team cost over all of its projects."""

    team_id: str


class PlatformCostsView(CostReportView):
    """What everything cost, and the ten dearest projects and teams."""

    top_projects: list[NamedCostView]
    top_teams: list[NamedCostView]


class ScenarioView(View):
    """The same tokens at another target or model, each job rounded up once as a charge is."""

    target: str
    model: str
    """`*`: every model of the target, by its own price where it has one."""
    jobs: int
    not_comparable_jobs: int
    """Jobs without a price there, or of another kind than the model serves."""
    charged: float
    """What was charged for the jobs compared."""
    charged_nanousd: int
    cost: float
    """What they would have cost there."""
    cost_nanousd: int
    saved: float
    """What was saved by not running there: `cost - charged`; negative: it is cheaper there."""
    saved_nanousd: int
    price_versions: list[str]


class NotComparableView(View):
    """Jobs for which no other target has a price."""

    target: str
    model: str
    price_version: str
    jobs: int
    charged: float
    charged_nanousd: int


class SavingsMethodView(View):
    """How the figures were made."""

    formula: str
    prices: str
    jobs: str


class SavingsView(View):
    """What the same work would have cost elsewhere, from the ledger."""

    project_id: str
    period_days: int
    begins_at: datetime
    ends_at: datetime
    jobs: int
    tokens_used_input: int
    tokens_used_output: int
    tokens_used_total: int
    charged: float
    """As settled, before refunds and surcharges."""
    charged_nanousd: int
    corrections: float
    """Surcharges less refunds booked in the period."""
    corrections_nanousd: int
    provider_cost: float
    """What these jobs cost us."""
    provider_cost_nanousd: int
    all_local: list[ScenarioView]
    all_cloud: list[ScenarioView]
    """Cheapest first."""
    not_comparable: list[NotComparableView]
    method: SavingsMethodView


class SuggestionView(View):
    """A piece of advice, and the figures it is made from."""

    kind: SuggestionName
    subject: str | None
    """The target and model it is about."""
    text: str
    figures: dict[str, int]
    """Amounts end in `_nanousd`, shares in `_percent`; the rest are counts."""
    monthly_saving: float
    """What it would have saved, for 30 days; 0 where that can't be said."""
    monthly_saving_nanousd: int


class SuggestionsView(View):
    """What could make a project's work cheaper; nothing is said from fewer than 20 jobs."""

    project_id: str
    period_days: int
    suggestions: list[SuggestionView]
    """The largest saving first."""


class ComputeJobView(View):
    """A job that ran, as the documents' log has it."""

    timestamp: datetime
    job_type: str
    complexity: int | None
    """As the router judged the prompt; `null` where it did not."""
    compute_type: str
    """Where it ran: `local`, `yotta` or another target."""
    cost: float
