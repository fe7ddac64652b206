"""Projects and their budgets."""

from __future__ import annotations

from datetime import datetime

from gateway.entrypoints.schemas.base import Identifier, Name, RequestBody, UsdAmount, View


class CreateProjectBody(RequestBody):
    """A new project, what it may spend in a calendar month, and the team it shall belong to."""

    name: Name
    budget_allocated: UsdAmount | None = None
    team_id: Identifier | None = None


class SetBudgetBody(RequestBody):
    """What a project may spend in each calendar month from now on."""

    budget_allocated: UsdAmount


class ProjectView(View):
    """A project; `team_id` is `null` where it belongs to no team."""

    project_id: str
    name: str
    owner_user_id: str
    is_default: bool
    created_at: datetime
    team_id: str | None


class ProjectWithBudgetView(ProjectView):
    """A project with its budget; `null` where none was allocated."""

    budget_allocated: float | None
    budget_allocated_nanousd: int | None


class ProjectsView(View):
    """A page of projects, oldest first."""

    projects: list[ProjectView]
    next_page_token: str
