"""Teams."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from gateway.entrypoints.schemas.base import Name, RequestBody, View

TeamRoleName = Literal["member", "manager", "owner"]


class CreateTeamBody(RequestBody):
    """A new team."""

    name: Name


class TeamView(View):
    """A team; `team_role` is the caller's part in it."""

    team_id: str
    name: str
    owner_user_id: str
    team_role: TeamRoleName
    created_at: datetime


class TeamsView(View):
    """A page of teams, oldest first."""

    teams: list[TeamView]
    next_page_token: str
