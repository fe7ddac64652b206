"""Teams: people whose projects share a budget."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from auth_service.domain.permissions import TeamRole


@dataclass(frozen=True, slots=True)
class Team:
    """A team, owned by the person who made it."""

    team_id: str
    name: str
    owner_user_id: str
    created_at: datetime
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class TeamMembership:
    """A person's part in a team."""

    team: Team
    user_id: str
    role: TeamRole
