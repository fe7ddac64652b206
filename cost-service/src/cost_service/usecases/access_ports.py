"""What the use cases ask about teams and API keys, in their own words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class TeamAccess:
    """One person's standing in one team."""

    team_id: str
    permissions: frozenset[str]


@dataclass(frozen=True, slots=True)
class ApiKeyAccess:
    """One caller's standing in the project of an API key."""

    api_key_id: str
    project_id: str
    permissions: frozenset[str]


class TeamsAndKeys(Protocol):
    """Knows teams, their members, and the projects of API keys (auth-service)."""

    async def team_access(self, user_id: str, team_id: str) -> TeamAccess:
        """Return what a person may do in a team.

        Raises:
            ServiceError: `TEAM_NOT_FOUND`, also where the person has no part in the team.
        """
        ...

    async def api_key_access(
        self, user_id: str, api_key_id: str, scopes: frozenset[str]
    ) -> ApiKeyAccess:
        """Return what a caller may do in the project of a key.

        Args:
            user_id: Who asks, or who owns the key that asks.
            api_key_id: The key that is meant.
            scopes: Those of the key that asks; empty for a person.

        Raises:
            ServiceError: `API_KEY_NOT_FOUND`, also where the caller has no part in its project.
        """
        ...
