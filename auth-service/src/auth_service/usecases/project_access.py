"""Answer who may do what in a project, inside somebody's transaction."""

from __future__ import annotations

from collections.abc import Collection

from auth_service.domain.errors import ProjectNotFound
from auth_service.domain.permissions import Permission, granted
from auth_service.domain.project import Membership
from auth_service.usecases.ports import UnitOfWork
from service_kit.errors import PermissionDenied
from service_kit.request_context import Caller


async def get_membership(work: UnitOfWork, user_id: str, project_id: str) -> Membership:
    """Return a user's part in a project; an empty `project_id` means their default project.

    Raises:
        ProjectNotFound: There is no such project, or none of theirs: both read the same.
    """
    found = (
        await work.projects.find_membership(user_id, project_id)
        if project_id
        else await work.projects.find_default_membership(user_id)
    )
    if found is None:
        raise ProjectNotFound(project_id)
    return found


async def require(
    work: UnitOfWork, caller: Caller, project_id: str, permission: Permission
) -> Membership:
    """Return the caller's part in a project where they may do that.

    An API key belongs to one project: that one is meant by an empty id, and
    every other one looks absent.

    Raises:
        ProjectNotFound: It is not the caller's.
        PermissionDenied: It is, and the permission is not.
    """
    wanted = project_id
    if caller.project_id is not None:
        wanted = project_id or caller.project_id
        if wanted != caller.project_id:
            raise ProjectNotFound(project_id)
    membership = await get_membership(work, caller.user_id, wanted)
    if permission not in granted(membership.role, scopes_of(caller)):
        raise PermissionDenied(permission)
    return membership


def scopes_of(caller: Caller) -> Collection[str]:
    """Return the scopes that bind the caller: none for a person."""
    return caller.scopes if caller.kind == "api_key" else frozenset()
