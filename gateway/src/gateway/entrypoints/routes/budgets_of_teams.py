"""Budgets of teams, which bound what their projects spend together."""

from __future__ import annotations

from fastapi import APIRouter

from gateway.domain.project import BudgetPeriod
from gateway.entrypoints import budget_views
from gateway.entrypoints.budget_owners import AlertsPageSize, AlertsPageToken, TeamOfPath
from gateway.entrypoints.dependencies import SECURITY, EdgeParts, RequiredIdempotencyKey
from gateway.entrypoints.schemas.budgets import (
    PeriodName,
    SetPeriodBudgetBody,
    TeamBudgetAlertsView,
    TeamBudgetView,
    TeamPeriodBudgetView,
    TopUpBody,
)
from gateway.entrypoints.strict_json import StrictJsonRoute

router = APIRouter(
    prefix="/api/v1/costs/teams/{team_id}",
    tags=["budgets"],
    route_class=StrictJsonRoute,
    dependencies=list(SECURITY),
)


@router.get("/budget")
async def get_team_budget(owner: TeamOfPath, edge: EdgeParts) -> TeamBudgetView:
    """Return a team's budget of the current month, and all that hold.

    Where no monthly budget is set, the default holds.
    """
    month, periods = await edge.budgets.get_budgets(owner)
    return budget_views.team_budgets_view(month, periods)


@router.put("/budget")
async def set_team_budget(
    owner: TeamOfPath, body: SetPeriodBudgetBody, edge: EdgeParts
) -> TeamPeriodBudgetView:
    """Set what a team's projects may spend together in each month, each day, or in total."""
    budget = await edge.budgets.set_budget(owner, body.budget_allocated, BudgetPeriod(body.period))
    return budget_views.team_budget_view(budget)


@router.post("/budget/top-up")
async def top_up_team_budget(
    owner: TeamOfPath, body: TopUpBody, edge: EdgeParts, request_id: RequiredIdempotencyKey
) -> TeamPeriodBudgetView:
    """Add to a budget, and return it as it is then.

    Needs an `Idempotency-Key`; the same one adds once and returns the first answer.
    """
    budget = await edge.budgets.top_up_budget(
        owner, body.amount, BudgetPeriod(body.period), request_id
    )
    return budget_views.team_budget_view(budget)


@router.delete("/budget", status_code=204)
async def clear_team_budget(
    owner: TeamOfPath,
    edge: EdgeParts,
    period: PeriodName,
) -> None:
    """Take a budget away; where there is none, nothing happens.

    Without a monthly budget of its own the team has the default.
    """
    await edge.budgets.clear_budget(owner, BudgetPeriod(period))


@router.get("/alerts")
async def list_team_alerts(
    owner: TeamOfPath,
    edge: EdgeParts,
    page_size: AlertsPageSize = 50,
    page_token: AlertsPageToken = "",
) -> TeamBudgetAlertsView:
    """List when a team's spending came to 80, 95 and 100 % of a budget, newest first."""
    page = await edge.budgets.list_alerts(owner, page_size, page_token)
    return budget_views.team_alerts_view(owner, page)
