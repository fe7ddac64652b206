"""Remove a project of the caller, with everything that gives access to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from auth_service.domain.audit import AuditAction, AuditEntry
from auth_service.domain.denial import DenialKind, deny, membership_subject
from auth_service.domain.errors import ProjectNotFound
from auth_service.domain.permissions import Permission, ProjectRole
from auth_service.usecases.ports import UnitOfWork, UnitOfWorkFactory
from auth_service.usecases.project_access import require
from service_kit.clock import Clock
from service_kit.errors import PermissionDenied
from service_kit.request_context import Caller


@dataclass(frozen=True, slots=True)
class DeleteProject:
    """Archives a project; its keys stop working and its members' access is denied."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    access_token_life: timedelta
    internal_token_life: timedelta

    async def __call__(self, caller: Caller, project_id: str) -> None:
        """Remove the project; afterwards it looks absent.

        Raises:
            ProjectNotFound: There is no such project, or none of the caller's.
            PermissionDenied: The caller is a member but not the owner.
            DefaultProjectKept: It is the default project.
        """
        now = self.clock.now()
        async with self.unit_of_work() as work:
            await self._check(work, caller, project_id)
            project = await work.projects.find_for_update(project_id)
            if project is None:
                raise ProjectNotFound(project_id)
            await work.projects.save(project.archived(now))
            await self._delete_keys(work, project_id, now)
            await self._deny_members(work, project_id, now)
            await work.audit.add(
                AuditEntry(AuditAction.PROJECT_DELETED, now, caller.user_id, subject=project_id)
            )

    async def _check(self, work: UnitOfWork, caller: Caller, project_id: str) -> None:
        if not project_id:
            # An empty id means the default project elsewhere; nobody deletes by leaving it out.
            raise ProjectNotFound(project_id)
        membership = await require(work, caller, project_id, Permission.PROJECTS_WRITE)
        if membership.role is not ProjectRole.OWNER:
            raise PermissionDenied(Permission.PROJECTS_WRITE)

    async def _delete_keys(self, work: UnitOfWork, project_id: str, now: datetime) -> None:
        for key in await work.api_keys.list_of_project_for_update(project_id):
            await work.api_keys.save(key.deleted(now))
            await work.denials.add(deny(DenialKind.KEY, key.key_id, now, self.internal_token_life))

    async def _deny_members(self, work: UnitOfWork, project_id: str, now: datetime) -> None:
        for user_id in await work.projects.list_member_ids(project_id):
            subject = membership_subject(user_id, project_id)
            await work.denials.add(
                deny(DenialKind.MEMBERSHIP, subject, now, self.access_token_life)
            )
