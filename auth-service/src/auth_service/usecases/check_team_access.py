"""Tell another service what a person may do in a team."""

from __future__ import annotations

from dataclasses import dataclass

from auth_service.domain.permissions import Permission, granted_in_team
from auth_service.domain.team import TeamMembership
from auth_service.usecases.ports import UnitOfWorkFactory
from auth_service.usecases.team_access import get_team_membership


@dataclass(frozen=True, slots=True)
class CheckTeamAccess:
    """Returns a person's part in a team and what it lets them do.

    An API key has no part in any team: whoever asks does so for people only.
    """

    unit_of_work: UnitOfWorkFactory

    async def __call__(
        self, user_id: str, team_id: str
    ) -> tuple[TeamMembership, frozenset[Permission]]:
        """Return the membership and the permissions.

        Raises:
            TeamNotFound: There is no such team, or none of theirs.
        """
        async with self.unit_of_work() as work:
            membership = await get_team_membership(work, user_id, team_id)
        return membership, granted_in_team(membership.role)
