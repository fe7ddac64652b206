"""gRPC face of teams: convert, call, convert back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import grpc
from weir.auth.v1 import team_service_pb2 as pb
from weir.auth.v1 import team_service_pb2_grpc as pb_grpc

from auth_service.entrypoints import convert
from auth_service.usecases.create_team import CreateTeam
from auth_service.usecases.get_team import GetTeam
from auth_service.usecases.list_teams import ListTeams
from service_kit.request_context import caller

Context = grpc.aio.ServicerContext[Any, Any]

RPC_SERVICE: Final = "weir.auth.v1.TeamService"


@dataclass(frozen=True, slots=True)
class TeamUseCases:
    """What the handlers call."""

    create_team: CreateTeam
    get_team: GetTeam
    list_teams: ListTeams


class TeamHandlers(pb_grpc.TeamServiceServicer):
    """Serves `TeamService`."""

    def __init__(self, use_cases: TeamUseCases) -> None:
        self._use_cases = use_cases

    async def CreateTeam(
        self, request: pb.CreateTeamRequest, context: Context
    ) -> pb.CreateTeamResponse:
        found = await self._use_cases.create_team(caller(), request.name, request.request_id)
        return pb.CreateTeamResponse(
            team=convert.team_to_proto(found.membership), created=found.created
        )

    async def GetTeam(self, request: pb.GetTeamRequest, context: Context) -> pb.GetTeamResponse:
        membership = await self._use_cases.get_team(caller(), request.team_id)
        return pb.GetTeamResponse(team=convert.team_to_proto(membership))

    async def ListTeams(
        self, request: pb.ListTeamsRequest, context: Context
    ) -> pb.ListTeamsResponse:
        memberships, next_page_token = await self._use_cases.list_teams(
            caller(), request.page_size, request.page_token
        )
        return pb.ListTeamsResponse(
            teams=[convert.team_to_proto(membership) for membership in memberships],
            next_page_token=next_page_token,
        )
