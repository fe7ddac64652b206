"""Answer who may do what in a team, inside somebody's transaction."""

from __future__ import annotations

from auth_service.domain.errors import PersonNeeded, TeamNotFound
from auth_service.domain.permissions import Permission, granted_in_team
from auth_service.domain.team import TeamMembership
from auth_service.usecases.ports import UnitOfWork
from service_kit.errors import PermissionDenied
from service_kit.request_context import Caller


def require_person(caller: Caller, what: str) -> None:
    """Refuse API keys, which belong to one project and so to nothing above it.

    Raises:
        PersonNeeded: The caller is one.
    """
    if caller.kind == "api_key":
        raise PersonNeeded(what)


async def get_team_membership(work: UnitOfWork, user_id: str, team_id: str) -> TeamMembership:
    """Return a user's part in a team.

    Raises:
        TeamNotFound: There is no such team, or none of theirs: both read the same.
    """
    found = await work.teams.find_membership(user_id, team_id)
    if found is None:
        raise TeamNotFound(team_id)
    return found


async def require_in_team(
    work: UnitOfWork, user_id: str, team_id: str, permission: Permission
) -> TeamMembership:
    """Return a person's part in a team where they may do that.

    Raises:
        TeamNotFound: It is not theirs.
        PermissionDenied: It is, and the permission is not.
    """
    membership = await get_team_membership(work, user_id, team_id)
    if permission not in granted_in_team(membership.role):
        raise PermissionDenied(permission)
    return membership
