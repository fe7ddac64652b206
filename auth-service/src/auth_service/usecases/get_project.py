"""Show the caller one of their projects."""

from __future__ import annotations

from dataclasses import dataclass

from auth_service.domain.permissions import Permission
from auth_service.domain.project import Project
from auth_service.usecases.ports import UnitOfWorkFactory
from auth_service.usecases.project_access import require
from service_kit.request_context import Caller


@dataclass(frozen=True, slots=True)
class GetProject:
    """Returns a project that the caller is a member of."""

    unit_of_work: UnitOfWorkFactory

    async def __call__(self, caller: Caller, project_id: str) -> Project:
        """Return the project; an empty id means the default one.

        Raises:
            ProjectNotFound: There is no such project, or none of the caller's.
            PermissionDenied: The caller's API key may not read projects.
        """
        async with self.unit_of_work() as work:
            return (await require(work, caller, project_id, Permission.PROJECTS_READ)).project
