"""Budgets, alerts and allowances in the shapes of HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

from weir.cost.v1 import cost_service_pb2 as pb

from gateway.adapters.budget_client import BUDGET_PERIODS
from gateway.domain.money import usd_view
from gateway.domain.project import Budget, BudgetOwner
from gateway.entrypoints.convert import time_of
from gateway.entrypoints.schemas.budgets import (
    AllowanceView,
    ApiKeyBudgetAlertsView,
    ApiKeyBudgetView,
    ApiKeyPeriodBudgetView,
    BudgetAlertsView,
    BudgetAlertView,
    BudgetView,
    ProjectBudgetView,
    TeamBudgetAlertsView,
    TeamBudgetView,
    TeamPeriodBudgetView,
)

ALERT_LEVELS: Final[
    dict[
        pb.BudgetStatus.ValueType,
        tuple[Literal["warning", "critical", "exceeded"], Literal[80, 95, 100]],
    ]
] = {
    pb.BUDGET_STATUS_WARNING: ("warning", 80),
    pb.BUDGET_STATUS_CRITICAL: ("critical", 95),
    pb.BUDGET_STATUS_EXCEEDED: ("exceeded", 100),
}


def project_budget_view(budget: Budget) -> BudgetView:
    return BudgetView(project_id=budget.owner.project_id, **_figures(budget))


def team_budget_view(budget: Budget) -> TeamPeriodBudgetView:
    return TeamPeriodBudgetView(team_id=budget.owner.team_id, **_figures(budget))


def api_key_budget_view(budget: Budget) -> ApiKeyPeriodBudgetView:
    return ApiKeyPeriodBudgetView(api_key_id=budget.owner.api_key_id, **_figures(budget))


def project_budgets_view(month: Budget, periods: Sequence[Budget]) -> ProjectBudgetView:
    return ProjectBudgetView(
        project_id=month.owner.project_id,
        **_figures(month),
        periods=[project_budget_view(budget) for budget in periods],
    )


def team_budgets_view(month: Budget, periods: Sequence[Budget]) -> TeamBudgetView:
    return TeamBudgetView(
        team_id=month.owner.team_id,
        **_figures(month),
        periods=[team_budget_view(budget) for budget in periods],
    )


def api_key_budgets_view(month: Budget, periods: Sequence[Budget]) -> ApiKeyBudgetView:
    return ApiKeyBudgetView(
        api_key_id=month.owner.api_key_id,
        **_figures(month),
        periods=[api_key_budget_view(budget) for budget in periods],
    )


def _figures(budget: Budget) -> dict[str, Any]:
    return {
        "period_kind": budget.period_kind.value,
        "period": budget.period,
        "has_budget": budget.has_budget,
        "budget_allocated": usd_view(budget.cap_nanousd),
        "budget_allocated_nanousd": budget.cap_nanousd,
        "actual_cost": usd_view(budget.posted_nanousd),
        "actual_cost_nanousd": budget.posted_nanousd,
        "reserved": usd_view(budget.reserved_nanousd),
        "reserved_nanousd": budget.reserved_nanousd,
        "remaining_budget": usd_view(budget.remaining_nanousd),
        "remaining_budget_nanousd": budget.remaining_nanousd,
        "percentage_used": budget.percentage_used,
        "status": budget.status.value,
    }


def project_alerts_view(owner: BudgetOwner, page: pb.ListBudgetAlertsResponse) -> BudgetAlertsView:
    return BudgetAlertsView(project_id=owner.project_id, **_alerts(page))


def team_alerts_view(owner: BudgetOwner, page: pb.ListBudgetAlertsResponse) -> TeamBudgetAlertsView:
    return TeamBudgetAlertsView(team_id=owner.team_id, **_alerts(page))


def api_key_alerts_view(
    owner: BudgetOwner, page: pb.ListBudgetAlertsResponse
) -> ApiKeyBudgetAlertsView:
    return ApiKeyBudgetAlertsView(api_key_id=owner.api_key_id, **_alerts(page))


def _alerts(page: pb.ListBudgetAlertsResponse) -> dict[str, Any]:
    return {
        "alerts": [alert_view(alert) for alert in page.alerts],
        "next_page_token": page.next_page_token,
    }


def alert_view(alert: pb.BudgetAlert) -> BudgetAlertView:
    level, percent = ALERT_LEVELS[alert.level]
    return BudgetAlertView(
        alert_id=alert.alert_id,
        level=level,
        percent=percent,
        period_kind=BUDGET_PERIODS[alert.period_kind].value,
        period=alert.period,
        budget_allocated=usd_view(alert.cap_nanousd),
        budget_allocated_nanousd=alert.cap_nanousd,
        actual_cost=usd_view(alert.posted_nanousd),
        actual_cost_nanousd=alert.posted_nanousd,
        created_at=time_of(alert.created_at),
    )


def allowance_view(allowance: pb.Allowance) -> AllowanceView:
    return AllowanceView(
        user_id=allowance.user_id,
        allowance=usd_view(allowance.amount_nanousd),
        allowance_nanousd=allowance.amount_nanousd,
        allocated=usd_view(allowance.allocated_nanousd),
        allocated_nanousd=allowance.allocated_nanousd,
        left=usd_view(allowance.left_nanousd),
        left_nanousd=allowance.left_nanousd,
    )
