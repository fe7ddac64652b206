"""Tell another service what somebody may do in a project."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from auth_service.domain.permissions import Permission, granted
from auth_service.domain.project import Membership
from auth_service.usecases.ports import UnitOfWorkFactory
from auth_service.usecases.project_access import get_membership


@dataclass(frozen=True, slots=True)
class CheckAccess:
    """Returns a user's part in a project and what it lets them do."""

    unit_of_work: UnitOfWorkFactory

    async def __call__(
        self, user_id: str, project_id: str, scopes: Collection[str]
    ) -> tuple[Membership, frozenset[Permission]]:
        """Return the membership and the permissions; an empty id means the default project.

        Args:
            scopes: Of the API key that asks; empty for a person.

        Raises:
            ProjectNotFound: There is no such project, or none of theirs.
        """
        async with self.unit_of_work() as work:
            membership = await get_membership(work, user_id, project_id)
        return membership, granted(membership.role, scopes)
