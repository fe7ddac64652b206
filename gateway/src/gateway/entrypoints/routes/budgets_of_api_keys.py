"""Budgets of API keys, each within what its project may spend."""

from __future__ import annotations

from fastapi import APIRouter

from gateway.domain.project import BudgetPeriod
from gateway.entrypoints import budget_views
from gateway.entrypoints.budget_owners import AlertsPageSize, AlertsPageToken, ApiKeyOfPath
from gateway.entrypoints.dependencies import SECURITY, EdgeParts, RequiredIdempotencyKey
from gateway.entrypoints.schemas.budgets import (
    ApiKeyBudgetAlertsView,
    ApiKeyBudgetView,
    ApiKeyPeriodBudgetView,
    PeriodName,
    SetPeriodBudgetBody,
    TopUpBody,
)
from gateway.entrypoints.strict_json import StrictJsonRoute

router = APIRouter(
    prefix="/api/v1/costs/api-keys/{key_id}",
    tags=["budgets"],
    route_class=StrictJsonRoute,
    dependencies=list(SECURITY),
)


@router.get("/budget")
async def get_api_key_budget(owner: ApiKeyOfPath, edge: EdgeParts) -> ApiKeyBudgetView:
    """Return a key's budget of the current month, set or not, and all that are set for it."""
    month, periods = await edge.budgets.get_budgets(owner)
    return budget_views.api_key_budgets_view(month, periods)


@router.put("/budget")
async def set_api_key_budget(
    owner: ApiKeyOfPath, body: SetPeriodBudgetBody, edge: EdgeParts
) -> ApiKeyPeriodBudgetView:
    """Set what a key may spend in each month, each day, or in total.

    It only tightens what the key's project may spend. No key sets its own.
    """
    budget = await edge.budgets.set_budget(owner, body.budget_allocated, BudgetPeriod(body.period))
    return budget_views.api_key_budget_view(budget)


@router.post("/budget/top-up")
async def top_up_api_key_budget(
    owner: ApiKeyOfPath, body: TopUpBody, edge: EdgeParts, request_id: RequiredIdempotencyKey
) -> ApiKeyPeriodBudgetView:
    """Add to a budget, and return it as it is then.

    Needs an `Idempotency-Key`; the same one adds once and returns the first answer.
    """
    budget = await edge.budgets.top_up_budget(
        owner, body.amount, BudgetPeriod(body.period), request_id
    )
    return budget_views.api_key_budget_view(budget)


@router.delete("/budget", status_code=204)
async def clear_api_key_budget(
    owner: ApiKeyOfPath,
    edge: EdgeParts,
    period: PeriodName,
) -> None:
    """Take a budget away; where there is none, nothing happens.

    Without any, the key is bound by its project alone.
    """
    await edge.budgets.clear_budget(owner, BudgetPeriod(period))


@router.get("/alerts")
async def list_api_key_alerts(
    owner: ApiKeyOfPath,
    edge: EdgeParts,
    page_size: AlertsPageSize = 50,
    page_token: AlertsPageToken = "",
) -> ApiKeyBudgetAlertsView:
    """List when a key's spending came to 80, 95 and 100 % of a budget, newest first."""
    page = await edge.budgets.list_alerts(owner, page_size, page_token)
    return budget_views.api_key_alerts_view(owner, page)
