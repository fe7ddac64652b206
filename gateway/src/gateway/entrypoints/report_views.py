"""Reports, from the words of the proto to the shapes of HTTP."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from weir.cost.v1 import report_service_pb2 as pb

from gateway.domain.money import usd_view
from gateway.entrypoints.convert import time_of
from gateway.entrypoints.schemas.reports import (
    ComputeJobView,
    DayCostView,
    NamedCostView,
    NotComparableView,
    PlatformCostsView,
    ProjectCostsView,
    SavingsMethodView,
    SavingsView,
    ScenarioView,
    SuggestionName,
    SuggestionsView,
    SuggestionView,
    TeamCostsView,
)

SUGGESTION_KINDS: Final[dict[pb.SuggestionKind.ValueType, SuggestionName]] = {
    pb.SUGGESTION_KIND_SIMPLE_WORK_IN_CLOUD: "simple_work_in_cloud",
    pb.SUGGESTION_KIND_CHEAPER_TARGET: "cheaper_target",
    pb.SUGGESTION_KIND_FAILED_WORK: "failed_work",
    pb.SUGGESTION_KIND_UNCHARGED_PROVIDER_COST: "uncharged_provider_cost",
    pb.SUGGESTION_KIND_REPEATED_JOBS: "repeated_jobs",
    pb.SUGGESTION_KIND_HOLDS_ABOVE_CHARGES: "holds_above_charges",
    pb.SUGGESTION_KIND_BUDGET_NEARLY_USED: "budget_nearly_used",
}
LOCAL: Final = "local"

_METHOD: Final = SavingsMethodView(
    formula="per job: ceil((tokens_input * input price + tokens_output * output price) / 1000000) "
    "nano-USD, prices in nano-USD per million tokens; then the sum",
    prices="of the price version that each job was agreed at; those in force now play no part",
    jobs="every settlement of the period that charged, with its own tokens; a named model is "
    "compared with jobs that make text, and with its own",
)


def project_costs_view(response: pb.GetProjectReportResponse) -> ProjectCostsView:
    return ProjectCostsView(
        project_id=response.project_id,
        api_keys=_named(response.report.api_keys),
        **_report(response.report),
    )


def team_costs_view(response: pb.GetTeamReportResponse) -> TeamCostsView:
    return TeamCostsView(
        team_id=response.team_id,
        **_report(response.report),
    )


def platform_costs_view(report: pb.CostReport) -> PlatformCostsView:
    return PlatformCostsView(
        top_projects=_named(report.projects), top_teams=_named(report.teams), **_report(report)
    )


def savings_view(savings: pb.Savings) -> SavingsView:
    scenarios = [(one.target == LOCAL, _scenario(one)) for one in savings.scenarios]
    return SavingsView(
        project_id=savings.project_id,
        period_days=savings.period_days,
        begins_at=time_of(savings.begins_at),
        ends_at=time_of(savings.ends_at),
        jobs=savings.jobs,
        **_tokens(savings),
        charged=usd_view(savings.charged_nanousd),
        charged_nanousd=savings.charged_nanousd,
        corrections=usd_view(savings.corrections_nanousd),
        corrections_nanousd=savings.corrections_nanousd,
        provider_cost=usd_view(savings.provider_cost_nanousd),
        provider_cost_nanousd=savings.provider_cost_nanousd,
        all_local=[view for is_local, view in scenarios if is_local],
        all_cloud=[view for is_local, view in scenarios if not is_local],
        not_comparable=[
            NotComparableView(
                target=one.target,
                model=one.model,
                price_version=one.price_version,
                jobs=one.jobs,
                charged=usd_view(one.charged_nanousd),
                charged_nanousd=one.charged_nanousd,
            )
            for one in savings.not_comparable
        ],
        method=_METHOD,
    )


def suggestions_view(response: pb.GetSuggestionsResponse) -> SuggestionsView:
    return SuggestionsView(
        project_id=response.project_id,
        period_days=response.period_days,
        suggestions=[
            SuggestionView(
                kind=SUGGESTION_KINDS[one.kind],
                subject=one.subject or None,
                text=one.text,
                figures=dict(sorted(one.figures.items())),
                monthly_saving=usd_view(one.monthly_saving_nanousd),
                monthly_saving_nanousd=one.monthly_saving_nanousd,
            )
            for one in response.suggestions
        ],
    )


def compute_job_view(job: pb.ComputeJob) -> ComputeJobView:
    return ComputeJobView(
        timestamp=time_of(job.timestamp),
        job_type=job.job_type,
        complexity=job.complexity if job.HasField("complexity") else None,
        compute_type=job.compute_type,
        cost=usd_view(job.cost_nanousd),
    )


def _report(report: pb.CostReport) -> dict[str, Any]:
    """Return what every report shows."""
    total = report.total
    # Exact to the nano-dollar, rounded down; nothing is computed from it.
    average = total.cost_nanousd // total.jobs if total.jobs else 0
    return {
        "period_days": report.period_days,
        "begins_at": time_of(report.begins_at),
        "ends_at": time_of(report.ends_at),
        "total_cost": usd_view(total.cost_nanousd),
        "total_cost_nanousd": total.cost_nanousd,
        "total_jobs": total.jobs,
        "completed_jobs": total.completed_jobs,
        "failed_jobs": total.failed_jobs,
        "cancelled_jobs": total.cancelled_jobs,
        "average_cost_per_job": usd_view(average),
        "average_cost_per_job_nanousd": average,
        "provider_cost": usd_view(total.provider_cost_nanousd),
        "provider_cost_nanousd": total.provider_cost_nanousd,
        **_tokens(total),
        "trend": [DayCostView(day=one.name, **_sums(one.sums)) for one in report.days],
        "targets": _named(report.targets),
        "models": _named(report.models),
        "job_types": _named(report.job_types),
    }


def _named(shares: Iterable[pb.CostShare]) -> list[NamedCostView]:
    return [NamedCostView(name=one.name, **_sums(one.sums)) for one in shares]


def _sums(sums: pb.CostSums) -> dict[str, Any]:
    return {
        "cost": usd_view(sums.cost_nanousd),
        "cost_nanousd": sums.cost_nanousd,
        "provider_cost": usd_view(sums.provider_cost_nanousd),
        "provider_cost_nanousd": sums.provider_cost_nanousd,
        "jobs": sums.jobs,
        "completed_jobs": sums.completed_jobs,
        "failed_jobs": sums.failed_jobs,
        "cancelled_jobs": sums.cancelled_jobs,
        **_tokens(sums),
    }


def _tokens(counted: pb.CostSums | pb.Savings) -> dict[str, int]:
    return {
        "tokens_used_input": counted.tokens_input,
        "tokens_used_output": counted.tokens_output,
        "tokens_used_total": counted.tokens_input + counted.tokens_output,
    }


def _scenario(one: pb.SavingsScenario) -> ScenarioView:
    saved = one.cost_nanousd - one.charged_nanousd
    return ScenarioView(
        target=one.target,
        model=one.model,
        jobs=one.jobs,
        not_comparable_jobs=one.not_comparable_jobs,
        charged=usd_view(one.charged_nanousd),
        charged_nanousd=one.charged_nanousd,
        cost=usd_view(one.cost_nanousd),
        cost_nanousd=one.cost_nanousd,
        saved=usd_view(saved),
        saved_nanousd=saved,
        price_versions=list(one.price_versions),
    )
