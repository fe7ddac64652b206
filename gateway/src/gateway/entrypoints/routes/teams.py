"""Teams, whose projects share a budget."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query
from weir.auth.v1 import membership_service_pb2 as membership_pb
from weir.auth.v1 import team_service_pb2 as pb

from gateway.entrypoints.convert import time_of
from gateway.entrypoints.dependencies import (
    SECURITY,
    CurrentCaller,
    EdgeParts,
    IdempotencyKey,
    checked_team_id,
)
from gateway.entrypoints.schemas.teams import CreateTeamBody, TeamRoleName, TeamsView, TeamView
from gateway.entrypoints.strict_json import StrictJsonRoute

router = APIRouter(
    prefix="/api/v1/teams",
    tags=["teams"],
    route_class=StrictJsonRoute,
    dependencies=list(SECURITY),
)

TEAM_ROLES: Final[dict[membership_pb.TeamRole.ValueType, TeamRoleName]] = {
    membership_pb.TEAM_ROLE_MEMBER: "member",
    membership_pb.TEAM_ROLE_MANAGER: "manager",
    membership_pb.TEAM_ROLE_OWNER: "owner",
}


@router.post("", status_code=201)
async def create_team(
    body: CreateTeamBody, edge: EdgeParts, _: CurrentCaller, request_id: IdempotencyKey
) -> TeamView:
    """Create a team of the caller's, who is a person: API keys create none.

    A repeated `Idempotency-Key` returns the team made first.
    """
    return _view(await edge.teams.create_team(body.name, request_id))


@router.get("")
async def list_teams(
    edge: EdgeParts,
    _: CurrentCaller,
    page_size: Annotated[int, Query(ge=1, le=100)] = 50,
    page_token: Annotated[str, Query(max_length=512)] = "",
) -> TeamsView:
    """List the teams that the caller, a person, is a member of, oldest first."""
    page = await edge.teams.list_teams(page_size, page_token)
    return TeamsView(
        teams=[_view(team) for team in page.teams], next_page_token=page.next_page_token
    )


@router.get("/{team_id}")
async def get_team(team_id: str, edge: EdgeParts, _: CurrentCaller) -> TeamView:
    """Return a team that the caller, a person, is a member of."""
    return _view(await edge.teams.get_team(checked_team_id(team_id)))


def _view(team: pb.Team) -> TeamView:
    return TeamView(
        team_id=team.team_id,
        name=team.name,
        owner_user_id=team.owner_user_id,
        team_role=TEAM_ROLES[team.team_role],
        created_at=time_of(team.created_at),
    )
