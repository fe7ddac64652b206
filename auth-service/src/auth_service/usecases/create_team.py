"""Create a team for the caller."""

from __future__ import annotations

from dataclasses import dataclass

from auth_service.domain.audit import AuditAction, AuditEntry
from auth_service.domain.errors import IdempotencyKeyReused
from auth_service.domain.permissions import Permission, TeamRole
from auth_service.domain.project import parse_name
from auth_service.domain.request_key import parse_request_id
from auth_service.domain.team import Team, TeamMembership
from auth_service.usecases.ports import UnitOfWorkFactory
from auth_service.usecases.project_access import require
from auth_service.usecases.team_access import require_person
from service_kit.clock import Clock
from service_kit.ids import new_id
from service_kit.request_context import Caller


@dataclass(frozen=True, slots=True)
class TeamOfRequest:
    """The caller's part in the team of a request; `created` is false for one seen before."""

    membership: TeamMembership
    created: bool


@dataclass(frozen=True, slots=True)
class CreateTeam:
    """Stores a team whose owner is the caller."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock

    async def __call__(self, caller: Caller, name: str, request_id: str) -> TeamOfRequest:
        """Return the team, or the one made first for the same `request_id`.

        Raises:
            PersonNeeded: The caller is an API key.
            InvalidArgument: The name or the request id is malformed.
            IdempotencyKeyReused: The request id made a team of another name.
        """
        require_person(caller, "create teams")
        now = self.clock.now()
        team = Team(
            team_id=new_id(),
            name=parse_name(name),
            owner_user_id=caller.user_id,
            created_at=now,
            request_id=parse_request_id(request_id),
        )
        async with self.unit_of_work() as work:
            # Who may make projects at home may make a team to put them in.
            await require(work, caller, "", Permission.PROJECTS_WRITE)
            stored = await work.teams.add_owned(team)
            if stored.name != team.name:
                raise IdempotencyKeyReused()
            created = stored.team_id == team.team_id
            if created:
                await work.audit.add(
                    AuditEntry(
                        AuditAction.TEAM_CREATED, now, caller.user_id, subject=stored.team_id
                    )
                )
        return TeamOfRequest(TeamMembership(stored, caller.user_id, TeamRole.OWNER), created)
