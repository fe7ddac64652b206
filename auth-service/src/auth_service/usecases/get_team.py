"""Show the caller one of their teams."""

from __future__ import annotations

from dataclasses import dataclass

from auth_service.domain.permissions import Permission
from auth_service.domain.team import TeamMembership
from auth_service.usecases.ports import UnitOfWorkFactory
from auth_service.usecases.team_access import require_in_team, require_person
from service_kit.request_context import Caller


@dataclass(frozen=True, slots=True)
class GetTeam:
    """Returns a team that the caller is a member of, and their part in it."""

    unit_of_work: UnitOfWorkFactory

    async def __call__(self, caller: Caller, team_id: str) -> TeamMembership:
        """Return the caller's part in the team.

        Raises:
            PersonNeeded: The caller is an API key.
            TeamNotFound: There is no such team, or none of the caller's.
        """
        require_person(caller, "see teams")
        async with self.unit_of_work() as work:
            return await require_in_team(work, caller.user_id, team_id, Permission.PROJECTS_READ)
