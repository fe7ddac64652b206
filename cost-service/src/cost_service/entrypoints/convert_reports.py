"""Reports in the words of their proto."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from weir.cost.v1 import report_service_pb2 as pb

from cost_service.domain.cost_reports import CostReport, CostShare, CostSums
from cost_service.domain.ledger_entry import LedgerEntry
from cost_service.domain.savings import Savings
from cost_service.domain.suggestions import Suggestion, SuggestionKind
from cost_service.entrypoints.convert import int64
from service_kit.timestamps import timestamp

SUGGESTION_KINDS: Final = {
    SuggestionKind.SIMPLE_WORK_IN_CLOUD: pb.SUGGESTION_KIND_SIMPLE_WORK_IN_CLOUD,
    SuggestionKind.CHEAPER_TARGET: pb.SUGGESTION_KIND_CHEAPER_TARGET,
    SuggestionKind.FAILED_WORK: pb.SUGGESTION_KIND_FAILED_WORK,
    SuggestionKind.UNCHARGED_PROVIDER_COST: pb.SUGGESTION_KIND_UNCHARGED_PROVIDER_COST,
    SuggestionKind.REPEATED_JOBS: pb.SUGGESTION_KIND_REPEATED_JOBS,
    SuggestionKind.HOLDS_ABOVE_CHARGES: pb.SUGGESTION_KIND_HOLDS_ABOVE_CHARGES,
    SuggestionKind.BUDGET_NEARLY_USED: pb.SUGGESTION_KIND_BUDGET_NEARLY_USED,
}


def report_to_proto(report: CostReport) -> pb.CostReport:
    return pb.CostReport(
        total=_sums(report.total),
        period_days=report.period_days,
        begins_at=timestamp(report.begins_at),
        ends_at=timestamp(report.ends_at),
        days=_shares(report.days),
        targets=_shares(report.targets),
        models=_shares(report.models),
        job_types=_shares(report.job_types),
        api_keys=_shares(report.api_keys),
        projects=_shares(report.projects),
        teams=_shares(report.teams),
    )


def savings_to_proto(savings: Savings) -> pb.Savings:
    return pb.Savings(
        project_id=savings.project_id,
        period_days=savings.period_days,
        begins_at=timestamp(savings.begins_at),
        ends_at=timestamp(savings.ends_at),
        jobs=savings.jobs,
        tokens_input=int64(savings.tokens_input),
        tokens_output=int64(savings.tokens_output),
        charged_nanousd=int64(savings.charged_nanousd),
        corrections_nanousd=int64(savings.corrections_nanousd),
        provider_cost_nanousd=int64(savings.provider_cost_nanousd),
        scenarios=[
            pb.SavingsScenario(
                target=one.target,
                model=one.model,
                jobs=one.jobs,
                charged_nanousd=int64(one.charged_nanousd),
                cost_nanousd=int64(one.cost_nanousd),
                not_comparable_jobs=one.not_comparable_jobs,
                price_versions=one.price_versions,
            )
            for one in savings.scenarios
        ],
        not_comparable=[
            pb.NotComparable(
                target=one.target,
                model=one.model,
                price_version=one.price_version,
                jobs=one.jobs,
                charged_nanousd=int64(one.charged_nanousd),
            )
            for one in savings.not_comparable
        ],
    )


def suggestion_to_proto(suggestion: Suggestion) -> pb.Suggestion:
    return pb.Suggestion(
        kind=SUGGESTION_KINDS[suggestion.kind],
        subject=suggestion.subject,
        text=suggestion.text,
        figures={name: int64(value) for name, value in suggestion.figures.items()},
        monthly_saving_nanousd=int64(suggestion.monthly_saving_nanousd),
    )


def entry_to_proto(entry: LedgerEntry) -> pb.CostEntry:
    return pb.CostEntry(
        entry_id=entry.entry_id,
        booked_at=timestamp(entry.booked_at),
        finished_at=timestamp(entry.finished_at),
        kind=entry.kind.value,
        job_id=entry.job_id,
        job_type=entry.job_type,
        job_state=entry.job_state,
        target=entry.target,
        model=entry.model,
        complexity=entry.complexity,
        tokens_input=entry.tokens_input,
        tokens_output=entry.tokens_output,
        usage_source=entry.usage_source,
        cost_nanousd=entry.cost_nanousd,
        provider_cost_nanousd=entry.provider_cost_nanousd,
        price_version=entry.price_version,
        api_key_id=entry.api_key_id,
    )


def compute_job_to_proto(entry: LedgerEntry) -> pb.ComputeJob:
    return pb.ComputeJob(
        timestamp=timestamp(entry.finished_at or entry.booked_at),
        job_type=entry.job_type,
        complexity=entry.complexity,
        compute_type=entry.target,
        cost_nanousd=entry.cost_nanousd,
    )


def _shares(shares: Iterable[CostShare]) -> list[pb.CostShare]:
    return [pb.CostShare(name=one.name, sums=_sums(one.sums)) for one in shares]


def _sums(sums: CostSums) -> pb.CostSums:
    return pb.CostSums(
        cost_nanousd=int64(sums.cost_nanousd),
        provider_cost_nanousd=int64(sums.provider_cost_nanousd),
        jobs=sums.jobs,
        completed_jobs=sums.completed_jobs,
        failed_jobs=sums.failed_jobs,
        cancelled_jobs=sums.cancelled_jobs,
        tokens_input=int64(sums.tokens_input),
        tokens_output=int64(sums.tokens_output),
    )
