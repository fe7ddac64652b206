"""Budgets of projects, their alerts, and what users may allocate."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from gateway.domain.project import BudgetPeriod
from gateway.entrypoints import budget_views
from gateway.entrypoints.budget_owners import AlertsPageSize, AlertsPageToken, ProjectOfPath
from gateway.entrypoints.dependencies import (
    SECURITY,
    CurrentCaller,
    EdgeParts,
    RequiredIdempotencyKey,
)
from gateway.entrypoints.schemas.budgets import (
    AllowanceView,
    BudgetAlertsView,
    BudgetView,
    OptionalPeriodName,
    ProjectBudgetView,
    SetAllowanceBody,
    SetPeriodBudgetBody,
    TopUpBody,
)
from gateway.entrypoints.strict_json import StrictJsonRoute
from service_kit.errors import ErrorCode, ServiceError
from service_kit.ids import is_uuid

router = APIRouter(
    prefix="/api/v1/costs",
    tags=["budgets"],
    route_class=StrictJsonRoute,
    dependencies=list(SECURITY),
)


@router.get("/projects/{project_id}/budget")
async def get_project_budget(owner: ProjectOfPath, edge: EdgeParts) -> ProjectBudgetView:
    """Return a project's budget of the current month, and all that are set for it."""
    month, periods = await edge.budgets.get_budgets(owner)
    return budget_views.project_budgets_view(month, periods)


@router.put("/projects/{project_id}/budget")
async def set_project_budget(
    owner: ProjectOfPath, body: SetPeriodBudgetBody, edge: EdgeParts
) -> BudgetView:
    """Set what a project may spend in each month, each day, or in total.

    The monthly budget comes out of the allowance of the project's owner; the others only tighten.
    """
    budget = await edge.budgets.set_budget(owner, body.budget_allocated, BudgetPeriod(body.period))
    return budget_views.project_budget_view(budget)


@router.post("/projects/{project_id}/budget/top-up")
async def top_up_project_budget(
    owner: ProjectOfPath, body: TopUpBody, edge: EdgeParts, request_id: RequiredIdempotencyKey
) -> BudgetView:
    """Add to a budget, and return it as it is then.

    Needs an `Idempotency-Key`; the same one adds once and returns the first answer. Work that
    waits for the budget goes on within a second or two.
    """
    budget = await edge.budgets.top_up_budget(
        owner, body.amount, BudgetPeriod(body.period), request_id
    )
    return budget_views.project_budget_view(budget)


@router.delete("/projects/{project_id}/budget", status_code=204)
async def clear_project_budget(
    owner: ProjectOfPath,
    edge: EdgeParts,
    period: Annotated[OptionalPeriodName, Query(description="The monthly budget stays.")],
) -> None:
    """Take a daily or total budget away; where there is none, nothing happens."""
    await edge.budgets.clear_budget(owner, BudgetPeriod(period))


@router.get("/projects/{project_id}/alerts")
async def list_budget_alerts(
    owner: ProjectOfPath,
    edge: EdgeParts,
    page_size: AlertsPageSize = 50,
    page_token: AlertsPageToken = "",
) -> BudgetAlertsView:
    """List when a project's spending came to 80, 95 and 100 % of a budget, newest first."""
    page = await edge.budgets.list_alerts(owner, page_size, page_token)
    return budget_views.project_alerts_view(owner, page)


class UserNotFound(ServiceError):
    """An id of another form belongs to nobody."""

    code = ErrorCode.NOT_FOUND
    reason = "USER_NOT_FOUND"

    def __init__(self, user_id: str) -> None:
        super().__init__(f"User {user_id} does not exist.", metadata={"user_id": user_id})


def checked_user_id(user_id: str) -> str:
    """Return the id; one that can't be an id belongs to nobody."""
    if not is_uuid(user_id):
        raise UserNotFound(user_id[:64])
    return user_id


@router.get("/allowances/{user_id}")
async def get_allowance(user_id: str, edge: EdgeParts, _: CurrentCaller) -> AllowanceView:
    """Return what a user may allocate to monthly budgets: one's own, or an administrator's view."""
    return budget_views.allowance_view(await edge.budgets.get_allowance(checked_user_id(user_id)))


@router.put("/allowances/{user_id}")
async def set_allowance(
    user_id: str, body: SetAllowanceBody, edge: EdgeParts, _: CurrentCaller
) -> AllowanceView:
    """Set what a user may allocate to monthly budgets. Administrators only."""
    return budget_views.allowance_view(
        await edge.budgets.set_allowance(checked_user_id(user_id), body.allowance)
    )
