"""Create a project for the caller."""

from __future__ import annotations

from dataclasses import dataclass, replace

from auth_service.domain.audit import AuditAction, AuditEntry
from auth_service.domain.errors import IdempotencyKeyReused
from auth_service.domain.permissions import Permission
from auth_service.domain.project import Project, parse_name
from auth_service.domain.request_key import parse_request_id
from auth_service.usecases.ports import UnitOfWork, UnitOfWorkFactory
from auth_service.usecases.project_access import require
from auth_service.usecases.team_access import require_in_team, require_person
from service_kit.clock import Clock
from service_kit.ids import new_id
from service_kit.request_context import Caller


@dataclass(frozen=True, slots=True)
class ProjectOfRequest:
    """The project of a request; `created` is false when the request was seen before."""

    project: Project
    created: bool


@dataclass(frozen=True, slots=True)
class CreateProject:
    """Stores a project whose owner is the caller."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock

    async def __call__(
        self, caller: Caller, name: str, request_id: str, team_id: str = ""
    ) -> ProjectOfRequest:
        """Return the project, or the one made first for the same `request_id`.

        Args:
            team_id: The team whose budget it shall use too; empty for none.

        Raises:
            PersonNeeded: The caller is an API key.
            InvalidArgument: The name or the request id is malformed.
            TeamNotFound: There is no such team, or none of the caller's.
            PermissionDenied: The caller may not add projects to that team.
            IdempotencyKeyReused: The request id made a project of another name or team.
        """
        # A key belongs to one project, and could neither see nor fund a new one.
        require_person(caller, "create projects")
        now = self.clock.now()
        project = Project(
            project_id=new_id(),
            name=parse_name(name),
            owner_user_id=caller.user_id,
            is_default=False,
            created_at=now,
            request_id=parse_request_id(request_id),
        )
        async with self.unit_of_work() as work:
            # The right to make projects is the one a caller has at home.
            await require(work, caller, "", Permission.PROJECTS_WRITE)
            project = replace(project, team_id=await _team(work, caller, team_id))
            stored = await work.projects.add_owned(project)
            if (stored.name, stored.team_id) != (project.name, project.team_id):
                raise IdempotencyKeyReused()
            created = stored.project_id == project.project_id
            if created:
                await work.audit.add(
                    AuditEntry(
                        AuditAction.PROJECT_CREATED, now, caller.user_id, subject=stored.project_id
                    )
                )
        return ProjectOfRequest(stored, created)


async def _team(work: UnitOfWork, caller: Caller, team_id: str) -> str | None:
    if not team_id:
        return None
    found = await require_in_team(work, caller.user_id, team_id, Permission.PROJECTS_WRITE)
    return found.team.team_id
