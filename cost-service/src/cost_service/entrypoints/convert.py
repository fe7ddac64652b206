"""Between the words of the protos and the words of the domain."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from google.protobuf import timestamp_pb2
from weir.cost.v1 import cost_service_pb2 as cost_pb
from weir.cost.v1 import ledger_service_pb2 as ledger_pb
from weir.cost.v1 import price_service_pb2 as price_pb

from cost_service.domain.allowance import Allowance
from cost_service.domain.budget import Budget, BudgetStatus
from cost_service.domain.budget_alert import BudgetAlert
from cost_service.domain.budget_scope import BudgetScope, BudgetScopeKind
from cost_service.domain.costs import JobCost, ProjectCosts
from cost_service.domain.hold import Hold, HoldRequest, HoldState
from cost_service.domain.names import MAX_NANOUSD
from cost_service.domain.period import PeriodKind
from cost_service.domain.prices import Price, PriceSnapshot
from cost_service.domain.settlement import EntryKind, Outcome, Settlement
from cost_service.usecases.budget_owner import BudgetOwner
from service_kit.errors import InvalidArgument
from service_kit.timestamps import timestamp

SCOPE_KINDS: Final[dict[ledger_pb.BudgetScopeKind.ValueType, BudgetScopeKind]] = {
    ledger_pb.BUDGET_SCOPE_KIND_PROJECT: BudgetScopeKind.PROJECT,
    ledger_pb.BUDGET_SCOPE_KIND_TEAM: BudgetScopeKind.TEAM,
    ledger_pb.BUDGET_SCOPE_KIND_API_KEY: BudgetScopeKind.API_KEY,
}
HOLD_STATES: Final = {
    HoldState.HELD: ledger_pb.HOLD_STATE_HELD,
    HoldState.POSTED: ledger_pb.HOLD_STATE_POSTED,
    HoldState.VOIDED: ledger_pb.HOLD_STATE_VOIDED,
}
BUDGET_STATUSES: Final = {
    BudgetStatus.NO_BUDGET_SET: cost_pb.BUDGET_STATUS_NO_BUDGET_SET,
    BudgetStatus.OK: cost_pb.BUDGET_STATUS_OK,
    BudgetStatus.WARNING: cost_pb.BUDGET_STATUS_WARNING,
    BudgetStatus.CRITICAL: cost_pb.BUDGET_STATUS_CRITICAL,
    BudgetStatus.EXCEEDED: cost_pb.BUDGET_STATUS_EXCEEDED,
}
PERIOD_KINDS: Final = {
    PeriodKind.MONTHLY: cost_pb.BUDGET_PERIOD_MONTHLY,
    PeriodKind.DAILY: cost_pb.BUDGET_PERIOD_DAILY,
    PeriodKind.TOTAL: cost_pb.BUDGET_PERIOD_TOTAL,
}

BudgetRequest = (
    cost_pb.SetBudgetRequest
    | cost_pb.TopUpBudgetRequest
    | cost_pb.ClearBudgetRequest
    | cost_pb.GetBudgetRequest
    | cost_pb.ListBudgetAlertsRequest
)


def scope_from_proto(scope: ledger_pb.BudgetScope) -> BudgetScope:
    kind = SCOPE_KINDS.get(scope.kind)
    if kind is None:
        raise InvalidArgument("scopes", "The kind of a scope is not known.")
    return BudgetScope(kind, scope.scope_id, scope.owner_user_id, scope.default_cap)


def hold_request_from_proto(request: ledger_pb.PlaceHoldRequest) -> HoldRequest:
    return HoldRequest(
        hold_id=request.hold_id,
        scopes=tuple(scope_from_proto(scope) for scope in request.scopes),
        amount_nanousd=request.amount_nanousd,
        price_version=request.price_version,
    )


def post_from_proto(request: ledger_pb.PostHoldRequest) -> Settlement:
    return Settlement(
        hold_id=request.hold_id,
        kind=EntryKind.POST,
        amount_nanousd=request.amount_nanousd,
        scopes=tuple(scope_from_proto(scope) for scope in request.scopes),
        outcome=outcome_from_proto(request.outcome),
    )


def void_from_proto(request: ledger_pb.VoidHoldRequest) -> Settlement:
    return Settlement(
        hold_id=request.hold_id,
        kind=EntryKind.VOID,
        amount_nanousd=0,
        scopes=tuple(scope_from_proto(scope) for scope in request.scopes),
        outcome=outcome_from_proto(request.outcome),
    )


def outcome_from_proto(outcome: ledger_pb.OutcomeSummary) -> Outcome:
    return Outcome(
        job_id=outcome.job_id,
        project_id=outcome.project_id,
        job_state=outcome.job_state,
        target=outcome.target,
        model=outcome.model,
        tokens_input=outcome.tokens_input,
        tokens_output=outcome.tokens_output,
        usage_source=outcome.usage_source,
        provider_cost_nanousd=outcome.provider_cost_nanousd,
        price_version=outcome.price_version,
        period=outcome.period,
        finished_at=_moment(outcome.finished_at) if outcome.HasField("finished_at") else None,
        job_type=outcome.job_type,
        complexity=outcome.complexity if outcome.HasField("complexity") else None,
        complexity_threshold=(
            outcome.complexity_threshold if outcome.HasField("complexity_threshold") else None
        ),
    )


def hold_to_proto(hold: Hold) -> ledger_pb.Hold:
    return ledger_pb.Hold(
        hold_id=hold.hold_id,
        state=HOLD_STATES[hold.state],
        amount_nanousd=hold.amount_nanousd,
        price_version=hold.price_version,
        created_at=timestamp(hold.created_at),
    )


def period_kind_from_proto(period: cost_pb.BudgetPeriod.ValueType) -> PeriodKind:
    if period == cost_pb.BUDGET_PERIOD_UNSPECIFIED:
        return PeriodKind.MONTHLY
    kind = next((kind for kind, value in PERIOD_KINDS.items() if value == period), None)
    if kind is None:
        raise InvalidArgument("period", "This kind of period is not known.")
    return kind


def budget_owner_from_proto(request: BudgetRequest) -> BudgetOwner:
    return BudgetOwner(request.project_id, request.team_id, request.api_key_id)


def budget_to_proto(budget: Budget) -> cost_pb.Budget:
    return cost_pb.Budget(
        project_id=_id_as(BudgetScopeKind.PROJECT, budget.scope),
        team_id=_id_as(BudgetScopeKind.TEAM, budget.scope),
        api_key_id=_id_as(BudgetScopeKind.API_KEY, budget.scope),
        period=budget.period,
        has_budget=budget.has_budget,
        cap_nanousd=budget.cap_nanousd,
        reserved_nanousd=budget.reserved_nanousd,
        posted_nanousd=budget.posted_nanousd,
        status=BUDGET_STATUSES[budget.status],
        period_kind=PERIOD_KINDS[budget.period_kind],
    )


def budgets_to_proto(budgets: Sequence[Budget]) -> cost_pb.GetBudgetResponse:
    """Convert somebody's budgets; the first is the month's, set or not."""
    return cost_pb.GetBudgetResponse(
        budget=budget_to_proto(budgets[0]),
        periods=[budget_to_proto(budget) for budget in budgets if budget.has_budget],
    )


def alert_to_proto(alert: BudgetAlert) -> cost_pb.BudgetAlert:
    return cost_pb.BudgetAlert(
        alert_id=alert.alert_id,
        project_id=_id_as(BudgetScopeKind.PROJECT, alert.scope),
        team_id=_id_as(BudgetScopeKind.TEAM, alert.scope),
        api_key_id=_id_as(BudgetScopeKind.API_KEY, alert.scope),
        period_kind=PERIOD_KINDS[alert.period_kind],
        period=alert.period,
        level=BUDGET_STATUSES[alert.level],
        cap_nanousd=alert.cap_nanousd,
        posted_nanousd=alert.posted_nanousd,
        created_at=timestamp(alert.created_at),
    )


def allowance_to_proto(allowance: Allowance) -> cost_pb.Allowance:
    return cost_pb.Allowance(
        user_id=allowance.user_id,
        amount_nanousd=allowance.amount_nanousd,
        allocated_nanousd=allowance.allocated_nanousd,
        left_nanousd=allowance.left_nanousd,
    )


def project_costs_to_proto(costs: ProjectCosts) -> cost_pb.ProjectCosts:
    return cost_pb.ProjectCosts(
        project_id=costs.project_id,
        total_cost_nanousd=int64(costs.total_cost_nanousd),
        total_jobs=costs.total_jobs,
        completed_jobs=costs.completed_jobs,
        failed_jobs=costs.failed_jobs,
        period_days=costs.period_days,
        days=[
            cost_pb.DayCost(day=day.day, cost_nanousd=int64(day.cost_nanousd), jobs=day.jobs)
            for day in costs.days
        ],
    )


def job_cost_to_proto(cost: JobCost) -> cost_pb.JobCost:
    return cost_pb.JobCost(
        job_id=cost.job_id,
        project_id=cost.project_id,
        held_nanousd=cost.held_nanousd,
        charged_nanousd=int64(cost.charged_nanousd),
        settled=cost.settled,
        target=cost.target,
        model=cost.model,
        tokens_input=int64(cost.tokens_input),
        tokens_output=int64(cost.tokens_output),
        price_version=cost.price_version,
        settled_at=timestamp(cost.settled_at),
    )


def price_snapshot_to_proto(snapshot: PriceSnapshot) -> price_pb.PriceSnapshot:
    return price_pb.PriceSnapshot(
        price_version=snapshot.price_version,
        prices=[price_to_proto(price) for price in snapshot.prices],
        valid_from=timestamp(snapshot.valid_from),
    )


def price_to_proto(price: Price) -> price_pb.Price:
    return price_pb.Price(
        target=price.target,
        model=price.model,
        input_nanousd_per_million=price.input_nanousd_per_million,
        output_nanousd_per_million=price.output_nanousd_per_million,
    )


def int64(total: int) -> int:
    """Return a sum, or the nearest end of int64: an absurd entry must not hide all the others."""
    return max(-MAX_NANOUSD, min(total, MAX_NANOUSD))


def _id_as(kind: BudgetScopeKind, scope: BudgetScope) -> str:
    return scope.scope_id if scope.kind is kind else ""


def _moment(stamp: timestamp_pb2.Timestamp) -> datetime | None:
    try:
        return stamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        # A settlement is booked whatever the report beside it says.
        return None
