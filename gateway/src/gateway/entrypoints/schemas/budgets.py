"""Budgets. Amounts in US dollars are views; the exact ones end in `_nanousd`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from gateway.entrypoints.schemas.base import RequestBody, UsdAmount, View

PeriodName = Literal["monthly", "daily", "total"]
OptionalPeriodName = Literal["daily", "total"]


class SetPeriodBudgetBody(RequestBody):
    """What may be spent in each period of a kind from now on."""

    budget_allocated: UsdAmount
    period: PeriodName = "monthly"


class TopUpBody(RequestBody):
    """What is added to a budget."""

    amount: Annotated[UsdAmount, Field(gt=0)]
    period: PeriodName = "monthly"


class SetAllowanceBody(RequestBody):
    """What the monthly budgets of a user's projects may come to together."""

    allowance: UsdAmount


class OfProject(View):
    """Something of a project."""

    project_id: str


class OfTeam(View):
    """Something of a team."""

    team_id: str


class OfApiKey(View):
    """Something of an API key."""

    api_key_id: str


class BudgetFigures(View):
    """A budget of the current period. `percentage_used` counts what is reserved, too."""

    period_kind: PeriodName
    period: str
    """`2026-01`, `2026-01-31` (UTC) or `total`."""
    has_budget: bool
    budget_allocated: float
    budget_allocated_nanousd: int
    actual_cost: float
    actual_cost_nanousd: int
    reserved: float
    reserved_nanousd: int
    remaining_budget: float
    remaining_budget_nanousd: int
    percentage_used: float
    status: Literal["no_budget_set", "ok", "warning", "critical", "exceeded"]


class BudgetView(BudgetFigures, OfProject):
    """A project's budget of the current period. `percentage_used` counts what is reserved, too."""


class TeamPeriodBudgetView(BudgetFigures, OfTeam):
    """A team's budget of the current period. `percentage_used` counts what is reserved, too."""


class ApiKeyPeriodBudgetView(BudgetFigures, OfApiKey):
    """A key's budget of the current period. `percentage_used` counts what is reserved, too."""


class ProjectBudgetView(BudgetView):
    """The budget of the current month, and beside it all that are set."""

    periods: list[BudgetView]


class TeamBudgetView(TeamPeriodBudgetView):
    """The budget of the current month, and beside it all that hold."""

    periods: list[TeamPeriodBudgetView]


class ApiKeyBudgetView(ApiKeyPeriodBudgetView):
    """The budget of the current month, and beside it all that are set."""

    periods: list[ApiKeyPeriodBudgetView]


class BudgetAlertView(View):
    """Spending came to a level of a budget; figures as of then."""

    alert_id: int
    level: Literal["warning", "critical", "exceeded"]
    percent: Literal[80, 95, 100]
    period_kind: PeriodName
    period: str
    budget_allocated: float
    budget_allocated_nanousd: int
    actual_cost: float
    actual_cost_nanousd: int
    created_at: datetime


class BudgetAlertsPage(View):
    """A page of alerts, newest first."""

    alerts: list[BudgetAlertView]
    next_page_token: str


class BudgetAlertsView(BudgetAlertsPage, OfProject):
    """A page of a project's alerts, newest first."""


class TeamBudgetAlertsView(BudgetAlertsPage, OfTeam):
    """A page of a team's alerts, newest first."""


class ApiKeyBudgetAlertsView(BudgetAlertsPage, OfApiKey):
    """A page of a key's alerts, newest first."""


class AllowanceView(View):
    """What a user may allocate to monthly budgets, and what is left of it this month."""

    user_id: str
    allowance: float
    allowance_nanousd: int
    allocated: float
    allocated_nanousd: int
    left: float
    left_nanousd: int
