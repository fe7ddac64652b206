"""Whose budget is meant: a project's, a team's or an API key's, if the caller may ask for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cost_service.domain.budget_scope import BudgetScope, BudgetScopeKind
from cost_service.domain.errors import ApiKeyNotFound
from cost_service.domain.names import require_id
from cost_service.usecases.access_ports import TeamsAndKeys
from service_kit.access import AccessChecks
from service_kit.errors import InvalidArgument, PermissionDenied
from service_kit.request_context import Caller

READ: Final = "costs:read"
WRITE: Final = "budgets:write"


@dataclass(frozen=True, slots=True)
class BudgetOwner:
    """What a request names: one of the three, or nothing, for the caller's default project."""

    project_id: str = ""
    team_id: str = ""
    api_key_id: str = ""

    def __post_init__(self) -> None:
        if sum(map(bool, (self.project_id, self.team_id, self.api_key_id))) > 1:
            raise InvalidArgument("project_id", "Name a project, a team or an API key: one.")
        if self.team_id:
            require_id("team_id", self.team_id)
        if self.api_key_id:
            require_id("api_key_id", self.api_key_id)

    def require_named(self) -> None:
        """Raise `InvalidArgument` where the default project would be meant: say what changes."""
        if not (self.team_id or self.api_key_id):
            require_id("project_id", self.project_id)


@dataclass(frozen=True, slots=True)
class OwnerChecks:
    """Answers "may this caller see, or change, that budget?".

    Teams and keys are asked for each time: people change budgets far less often than they work.
    """

    projects: AccessChecks
    teams_and_keys: TeamsAndKeys

    async def require(self, caller: Caller, owner: BudgetOwner, permission: str) -> BudgetScope:
        """Return the scope whose budget is meant, if the caller has the permission there.

        Raises:
            PermissionDenied: The caller has a part there, and not this permission; or is an API
                key, and asks for a team, whichever, or would change its own budget.
            ServiceError: `PROJECT_NOT_FOUND`, `TEAM_NOT_FOUND` or `API_KEY_NOT_FOUND`.
        """
        if owner.team_id:
            return await self._team(caller, owner.team_id, permission)
        if owner.api_key_id:
            return await self._api_key(caller, owner.api_key_id, permission)
        project = await self.projects.require(caller, owner.project_id, permission)
        return BudgetScope(BudgetScopeKind.PROJECT, project.project_id, project.owner_user_id)

    async def _team(self, caller: Caller, team_id: str, permission: str) -> BudgetScope:
        # A key belongs to one project: no team is its own, and it learns of none.
        if caller.kind != "person":
            raise PermissionDenied(permission)
        team = await self.teams_and_keys.team_access(caller.user_id, team_id)
        _require(permission, team.permissions)
        return BudgetScope(BudgetScopeKind.TEAM, team.team_id)

    async def _api_key(self, caller: Caller, api_key_id: str, permission: str) -> BudgetScope:
        key = await self.teams_and_keys.api_key_access(caller.user_id, api_key_id, caller.scopes)
        if caller.project_id is not None and caller.project_id != key.project_id:
            raise ApiKeyNotFound(api_key_id)
        _require(permission, key.permissions)
        # Who is held to a cap does not move it.
        if permission == WRITE and key.api_key_id == caller.key_id:
            raise PermissionDenied(permission)
        return BudgetScope(BudgetScopeKind.API_KEY, key.api_key_id)


def _require(permission: str, permissions: frozenset[str]) -> None:
    if permission not in permissions:
        raise PermissionDenied(permission)
