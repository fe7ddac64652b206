"""auth-service: teams."""

from __future__ import annotations

import grpc
from weir.auth.v1 import team_service_pb2 as pb
from weir.auth.v1 import team_service_pb2_grpc as pb_grpc

from service_kit.grpc_errors import rpc_errors


class TeamClient:
    """Calls auth-service; the channel forwards the current caller's token."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._teams = pb_grpc.TeamServiceStub(channel)

    async def create_team(self, name: str, request_id: str) -> pb.Team:
        """Return the new team, or the one that the `request_id` made first."""
        with rpc_errors():
            response = await self._teams.CreateTeam(
                pb.CreateTeamRequest(name=name, request_id=request_id)
            )
        return response.team

    async def get_team(self, team_id: str) -> pb.Team:
        with rpc_errors():
            response = await self._teams.GetTeam(pb.GetTeamRequest(team_id=team_id))
        return response.team

    async def list_teams(self, page_size: int, page_token: str) -> pb.ListTeamsResponse:
        """Return a page of the caller's teams, oldest first."""
        with rpc_errors():
            return await self._teams.ListTeams(
                pb.ListTeamsRequest(page_size=page_size, page_token=page_token)
            )
