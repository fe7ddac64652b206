"""What could make a project's work cheaper. Each rule looks at figures, and shows them.

A rule returns nothing unless its figures speak for it; none speaks about fewer than `MIN_JOBS`.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from cost_service.domain.budget import Budget
from cost_service.domain.cost_reports import CostReport
from cost_service.domain.savings import Savings

MIN_JOBS: Final = 20
MONTH_DAYS: Final = 30
CHEAPER_PERCENT: Final = 20
FAILED_PERCENT: Final = 10
UNCHARGED_PERCENT: Final = 2
REPEATED_PERCENT: Final = 10
HOLD_FACTOR: Final = 10
BUDGET_PERCENT: Final = 80
# A forecast from less of a month is a guess.
FORECAST_AFTER_SECONDS: Final = 3 * 86_400


class SuggestionKind(StrEnum):
    """Which rule it comes from."""

    SIMPLE_WORK_IN_CLOUD = "simple_work_in_cloud"
    CHEAPER_TARGET = "cheaper_target"
    FAILED_WORK = "failed_work"
    UNCHARGED_PROVIDER_COST = "uncharged_provider_cost"
    REPEATED_JOBS = "repeated_jobs"
    HOLDS_ABOVE_CHARGES = "holds_above_charges"
    BUDGET_NEARLY_USED = "budget_nearly_used"


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A piece of advice, and the figures it is made from.

    `subject` names the target and model it is about, if any. `monthly_saving_nanousd` is what
    it would have saved, for 30 days; 0 where that can't be said.
    """

    kind: SuggestionKind
    text: str
    figures: Mapping[str, int]
    subject: str = ""
    monthly_saving_nanousd: int = 0


@dataclass(frozen=True, slots=True)
class WorkFacts:
    """What the rules ask of the ledger beside the reports.

    `simple_*` is work below the threshold of local work that ran elsewhere and has a local
    price; `held_*` is completed work with its hold; `uncharged_*` is work that was charged
    nothing though it cost us something.
    """

    settlements: int = 0
    failed_charged_nanousd: int = 0
    failed_provider_cost_nanousd: int = 0
    uncharged_jobs: int = 0
    uncharged_provider_cost_nanousd: int = 0
    simple_jobs: int = 0
    simple_charged_nanousd: int = 0
    simple_local_cost_nanousd: int = 0
    held_jobs: int = 0
    held_nanousd: int = 0
    held_charged_nanousd: int = 0
    held_tokens_output: int = 0


@dataclass(frozen=True, slots=True)
class ObservedWork:
    """Everything the rules look at, of one project and one period."""

    report: CostReport
    savings: Savings
    facts: WorkFacts
    budget: Budget

    def per_month(self, nanousd: int) -> int:
        """Return an amount of the period for 30 days."""
        return nanousd * MONTH_DAYS // self.report.period_days


def suggestions_for(work: ObservedWork) -> tuple[Suggestion, ...]:
    """Return what every rule has to say, the largest saving first."""
    found = [suggestion for rule in _RULES if (suggestion := rule(work)) is not None]
    return tuple(sorted(found, key=lambda one: -one.monthly_saving_nanousd))


def simple_work_in_cloud(work: ObservedWork) -> Suggestion | None:
    """Prompts below the threshold of local work ran elsewhere, at a higher price."""
    facts = work.facts
    saved = facts.simple_charged_nanousd - facts.simple_local_cost_nanousd
    if facts.simple_jobs < MIN_JOBS or saved <= 0:
        return None
    return Suggestion(
        SuggestionKind.SIMPLE_WORK_IN_CLOUD,
        f"{facts.simple_jobs} jobs below the complexity of cloud work ran in the cloud. Let Weir "
        "choose (model `auto`), or name a model that runs locally.",
        {
            "jobs": facts.simple_jobs,
            "charged_nanousd": facts.simple_charged_nanousd,
            "local_cost_nanousd": facts.simple_local_cost_nanousd,
        },
        monthly_saving_nanousd=work.per_month(saved),
    )


def cheaper_target(work: ObservedWork) -> Suggestion | None:
    """Another target or model has a much lower price for the same tokens."""
    enough = [
        scenario
        for scenario in work.savings.scenarios
        if scenario.jobs >= MIN_JOBS
        and scenario.saving_nanousd > 0
        and scenario.saving_nanousd * 100 >= scenario.charged_nanousd * CHEAPER_PERCENT
    ]
    if not enough:
        return None
    best = max(enough, key=lambda scenario: scenario.saving_nanousd)
    return Suggestion(
        SuggestionKind.CHEAPER_TARGET,
        f"The tokens of {best.jobs} jobs would have cost less on {best.target} (model "
        f"{best.model}), if its answers are good enough for them.",
        {
            "jobs": best.jobs,
            "charged_nanousd": best.charged_nanousd,
            "cost_there_nanousd": best.cost_nanousd,
            "not_comparable_jobs": best.not_comparable_jobs,
        },
        subject=f"{best.target}/{best.model}",
        monthly_saving_nanousd=work.per_month(best.saving_nanousd),
    )


def failed_work(work: ObservedWork) -> Suggestion | None:
    """Many jobs failed for good."""
    total, facts = work.report.total, work.facts
    if not _is_share(total.failed_jobs, total.jobs, FAILED_PERCENT):
        return None
    return Suggestion(
        SuggestionKind.FAILED_WORK,
        f"{total.failed_jobs} of {total.jobs} jobs failed for good. What they made until then was "
        "charged; their errors say what to change.",
        {
            "jobs": total.jobs,
            "failed_jobs": total.failed_jobs,
            "failed_percent": _percent(total.failed_jobs, total.jobs),
            "charged_nanousd": facts.failed_charged_nanousd,
            "provider_cost_nanousd": facts.failed_provider_cost_nanousd,
        },
        monthly_saving_nanousd=work.per_month(facts.failed_charged_nanousd),
    )


def uncharged_provider_cost(work: ObservedWork) -> Suggestion | None:
    """Targets cost us something for jobs that were charged nothing."""
    total, facts = work.report.total, work.facts
    if not _is_share(facts.uncharged_jobs, total.jobs, UNCHARGED_PERCENT):
        return None
    return Suggestion(
        SuggestionKind.UNCHARGED_PROVIDER_COST,
        f"{facts.uncharged_jobs} jobs were charged nothing, because their target was not heard "
        "of again, yet it may ask to be paid. Its connection and time limits need a look.",
        {
            "jobs": total.jobs,
            "uncharged_jobs": facts.uncharged_jobs,
            "uncharged_percent": _percent(facts.uncharged_jobs, total.jobs),
            "provider_cost_nanousd": facts.uncharged_provider_cost_nanousd,
        },
        monthly_saving_nanousd=work.per_month(facts.uncharged_provider_cost_nanousd),
    )


def repeated_jobs(work: ObservedWork) -> Suggestion | None:
    """Many jobs were admitted again after they had ended."""
    jobs = work.report.total.jobs
    repeated = work.facts.settlements - jobs
    if not _is_share(repeated, jobs, REPEATED_PERCENT):
        return None
    return Suggestion(
        SuggestionKind.REPEATED_JOBS,
        f"{jobs} jobs were run {repeated} times more than once. Each time holds the budget anew, "
        "and charges what it makes.",
        {
            "jobs": jobs,
            "repetitions": repeated,
            "repeated_percent": _percent(repeated, jobs),
        },
    )


def holds_above_charges(work: ObservedWork) -> Suggestion | None:
    """Jobs hold far more than they cost, so the budget refuses work that it could pay."""
    facts = work.facts
    charged = facts.held_charged_nanousd
    if facts.held_jobs < MIN_JOBS or charged == 0 or facts.held_nanousd < charged * HOLD_FACTOR:
        return None
    return Suggestion(
        SuggestionKind.HOLDS_ABOVE_CHARGES,
        f"Jobs hold {facts.held_nanousd // charged} times what they cost, and block the budget "
        "while they run. A smaller `max_tokens` would hold less.",
        {
            "jobs": facts.held_jobs,
            "held_nanousd": facts.held_nanousd,
            "charged_nanousd": charged,
            "tokens_output_per_job": facts.held_tokens_output // facts.held_jobs,
        },
    )


def budget_nearly_used(work: ObservedWork) -> Suggestion | None:
    """The month's budget is nearly used, or will be before the month is over."""
    budget, now = work.budget, work.report.ends_at
    if not budget.has_budget or work.report.total.jobs < MIN_JOBS:
        return None
    used = budget.posted_nanousd + budget.reserved_nanousd
    elapsed, whole = _month_seconds(now)
    forecast = used
    if elapsed >= FORECAST_AFTER_SECONDS:
        forecast = max(used, budget.posted_nanousd * whole // elapsed)
    if used * 100 < budget.cap_nanousd * BUDGET_PERCENT and forecast <= budget.cap_nanousd:
        return None
    return Suggestion(
        SuggestionKind.BUDGET_NEARLY_USED,
        f"The budget of {budget.period} is {_percent(used, budget.cap_nanousd)} % used"
        + (
            "; going on like this, it will not last for the month."
            if forecast > budget.cap_nanousd
            else "."
        ),
        {
            "cap_nanousd": budget.cap_nanousd,
            "posted_nanousd": budget.posted_nanousd,
            "reserved_nanousd": budget.reserved_nanousd,
            "used_percent": _percent(used, budget.cap_nanousd),
            "forecast_nanousd": forecast,
            "hours_left": (whole - elapsed) // 3600,
        },
    )


_RULES: Final[tuple[Callable[[ObservedWork], Suggestion | None], ...]] = (
    simple_work_in_cloud,
    cheaper_target,
    failed_work,
    uncharged_provider_cost,
    repeated_jobs,
    holds_above_charges,
    budget_nearly_used,
)


def _is_share(part: int, jobs: int, percent: int) -> bool:
    """Tell whether a part of enough jobs is at least so many percent of them."""
    return jobs >= MIN_JOBS and part > 0 and part * 100 >= jobs * percent


def _percent(part: int, whole: int) -> int:
    """Return the share, rounded down; all of nothing is 100."""
    return part * 100 // whole if whole else 100


def _month_seconds(now: datetime) -> tuple[int, int]:
    """Return how much of the month (UTC) is over, and how long it is."""
    day = now.astimezone(UTC)
    begin = day.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return int((day - begin).total_seconds()), monthrange(day.year, day.month)[1] * 86_400
