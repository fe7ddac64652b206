"""Who may do what: decided here for every service, and closed by default."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Final


class Permission(StrEnum):
    """One thing that may be done in a project or team."""

    MODELS_READ = "models:read"
    JOBS_READ = "jobs:read"
    JOBS_WRITE = "jobs:write"
    INFERENCE = "inference"
    COSTS_READ = "costs:read"
    BUDGETS_WRITE = "budgets:write"
    PROJECTS_READ = "projects:read"
    PROJECTS_WRITE = "projects:write"
    KEYS_WRITE = "keys:write"


class ProjectRole(StrEnum):
    """A member's part in a project, each holding the rights of those before it."""

    VIEWER = "viewer"
    DEVELOPER = "developer"
    MANAGER = "manager"
    OWNER = "owner"


class TeamRole(StrEnum):
    """A member's part in a team, each holding the rights of those before it."""

    MEMBER = "member"
    MANAGER = "manager"
    OWNER = "owner"


class ApiKeyScope(StrEnum):
    """What an API key is for. It never allows more than its owner may do."""

    READ = "read"
    INFERENCE = "inference"
    JOBS_WRITE = "jobs:write"
    PROJECTS_WRITE = "projects:write"
    ADMIN = "admin"


_EVERYTHING: Final = frozenset(Permission)
_READ: Final = frozenset(
    {
        Permission.MODELS_READ,
        Permission.JOBS_READ,
        Permission.COSTS_READ,
        Permission.PROJECTS_READ,
    }
)
_DEVELOPER: Final = _READ | {Permission.INFERENCE, Permission.JOBS_WRITE}

ROLE_PERMISSIONS: Final = {
    ProjectRole.VIEWER: _READ,
    ProjectRole.DEVELOPER: _DEVELOPER,
    ProjectRole.MANAGER: _DEVELOPER | {Permission.KEYS_WRITE, Permission.BUDGETS_WRITE},
    ProjectRole.OWNER: _EVERYTHING,
}

# Of the permissions only these mean something in a team; to write projects is to add them to it.
_TEAM_READ: Final = frozenset({Permission.COSTS_READ, Permission.PROJECTS_READ})
_TEAM_EVERYTHING: Final = _TEAM_READ | {Permission.PROJECTS_WRITE, Permission.BUDGETS_WRITE}

TEAM_ROLE_PERMISSIONS: Final = {
    TeamRole.MEMBER: _TEAM_READ,
    TeamRole.MANAGER: _TEAM_EVERYTHING,
    TeamRole.OWNER: _TEAM_EVERYTHING,
}

SCOPE_PERMISSIONS: Final = {
    ApiKeyScope.READ: _READ,
    ApiKeyScope.INFERENCE: frozenset({Permission.MODELS_READ, Permission.INFERENCE}),
    ApiKeyScope.JOBS_WRITE: frozenset({Permission.JOBS_WRITE, Permission.JOBS_READ}),
    ApiKeyScope.PROJECTS_WRITE: frozenset({Permission.PROJECTS_WRITE, Permission.BUDGETS_WRITE}),
    ApiKeyScope.ADMIN: _EVERYTHING,
}


def granted(role: ProjectRole, scopes: Collection[str]) -> frozenset[Permission]:
    """Return what a member may do, through a key of these scopes or, without any, in person.

    A scope that is not known grants nothing; it does not make a key a person.
    """
    permissions = ROLE_PERMISSIONS[role]
    if not scopes:
        return permissions
    known = {scope.value: SCOPE_PERMISSIONS[scope] for scope in ApiKeyScope}
    allowed: frozenset[Permission] = frozenset().union(
        *(known.get(scope, frozenset()) for scope in scopes)
    )
    return permissions & allowed


def granted_in_team(role: TeamRole) -> frozenset[Permission]:
    """Return what a member may do in a team, always in person. It reaches into no project."""
    return TEAM_ROLE_PERMISSIONS[role]
