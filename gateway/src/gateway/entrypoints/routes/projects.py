"""Projects and their budgets."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from gateway.domain.project import BudgetOwner
from gateway.entrypoints import budget_views, convert
from gateway.entrypoints.dependencies import (
    SECURITY,
    CurrentCaller,
    EdgeParts,
    IdempotencyKey,
    checked_project_id,
    checked_team_id,
)
from gateway.entrypoints.schemas.budgets import BudgetView
from gateway.entrypoints.schemas.projects import (
    CreateProjectBody,
    ProjectsView,
    ProjectWithBudgetView,
    SetBudgetBody,
)
from gateway.entrypoints.strict_json import StrictJsonRoute

router = APIRouter(
    prefix="/api/v1/projects",
    tags=["projects"],
    route_class=StrictJsonRoute,
    dependencies=list(SECURITY),
)


@router.post("", status_code=201)
async def create_project(
    body: CreateProjectBody, edge: EdgeParts, _: CurrentCaller, request_id: IdempotencyKey
) -> ProjectWithBudgetView:
    """Create a project of the caller's, who is a person: API keys create none.

    A project of a team uses the team's budget too; only its owner and managers add projects to it.
    Where the project's own budget is refused, no project is left. A repeated `Idempotency-Key`
    returns the project made first, and sets the budget only where that has none.
    """
    team_id = "" if body.team_id is None else checked_team_id(body.team_id)
    project, budget = await edge.create_project(
        body.name, body.budget_allocated, request_id, team_id
    )
    return convert.project_with_budget_view(project, budget)


@router.get("")
async def list_projects(
    edge: EdgeParts,
    _: CurrentCaller,
    page_size: Annotated[int, Query(ge=1, le=100)] = 50,
    page_token: Annotated[str, Query(max_length=512)] = "",
) -> ProjectsView:
    """List the caller's projects, oldest first."""
    projects, next_page_token = await edge.auth.list_projects(page_size, page_token)
    return ProjectsView(
        projects=[convert.project_view(project) for project in projects],
        next_page_token=next_page_token,
    )


@router.get("/{project_id}")
async def get_project(project_id: str, edge: EdgeParts, _: CurrentCaller) -> ProjectWithBudgetView:
    """Return a project with its budget."""
    project = await edge.auth.get_project(checked_project_id(project_id))
    budget = await edge.budgets.get_budget(BudgetOwner(project.project_id))
    return convert.project_with_budget_view(project, budget)


@router.put("/{project_id}/budget")
async def set_budget(
    project_id: str, body: SetBudgetBody, edge: EdgeParts, _: CurrentCaller
) -> BudgetView:
    """Set what a project may spend in each calendar month."""
    owner = BudgetOwner(checked_project_id(project_id))
    budget = await edge.budgets.set_budget(owner, body.budget_allocated)
    return budget_views.project_budget_view(budget)
