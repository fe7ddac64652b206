"""Tell another service whose an API key is, and what somebody may do in its project."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from auth_service.domain.errors import ApiKeyNotFound
from auth_service.domain.permissions import Permission, granted
from auth_service.domain.project import Membership
from auth_service.usecases.ports import UnitOfWorkFactory


@dataclass(frozen=True, slots=True)
class CheckKeyAccess:
    """Returns a user's part in the project of a key and what it lets them do there."""

    unit_of_work: UnitOfWorkFactory

    async def __call__(
        self, user_id: str, key_id: str, scopes: Collection[str]
    ) -> tuple[Membership, frozenset[Permission]]:
        """Return the membership in the key's project and the permissions.

        Args:
            scopes: Of the API key that asks, which may be another one; empty for a person.

        Raises:
            ApiKeyNotFound: There is no such key, it was deleted, or its project is none of theirs.
        """
        async with self.unit_of_work() as work:
            key = await work.api_keys.find(key_id)
            if key is None or key.deleted_at is not None:
                raise ApiKeyNotFound(key_id)
            membership = await work.projects.find_membership(user_id, key.project_id)
            if membership is None:
                raise ApiKeyNotFound(key_id)
        return membership, granted(membership.role, scopes)
