"""What the use cases need from the outside, in their own words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from gateway.domain.project import Budget, BudgetOwner, Project
from gateway.domain.rate import RateLimit, Verdict


@dataclass(frozen=True, slots=True)
class InternalToken:
    """What an API key was exchanged for. It never leaves the services."""

    token: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ProjectOfRequest:
    """The project of a request; `created` is false when the request was seen before."""

    project: Project
    created: bool


class ApiKeyExchange(Protocol):
    """Knows API keys (auth-service)."""

    async def exchange_api_key(self, secret: str) -> InternalToken:
        """Return a token that lives for a minute at most.

        Raises:
            Unauthenticated: `API_KEY_REFUSED`.
        """
        ...


class Projects(Protocol):
    """Keeps projects (auth-service). The caller is the current request's."""

    async def create_project(self, name: str, request_id: str, team_id: str) -> ProjectOfRequest:
        """Return the project; an empty `team_id` means that it has no team."""
        ...

    async def delete_project(self, project_id: str) -> None: ...

    async def list_projects(self, page_size: int, page_token: str) -> tuple[Sequence[Project], str]:
        """Return a page of the caller's projects, oldest first, and the next page's token."""
        ...


class Budgets(Protocol):
    """Keeps budgets (cost-service). The caller is the current request's."""

    async def set_budget(self, owner: BudgetOwner, cap_nanousd: int) -> Budget: ...

    async def get_budget(self, owner: BudgetOwner) -> Budget: ...


class RateLimiter(Protocol):
    """Counts calls."""

    async def hit(self, limit: RateLimit, identity: str) -> Verdict:
        """Count one call of somebody, unless their limit is used up."""
        ...
