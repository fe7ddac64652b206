"""gRPC face of access checks for other services."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import grpc
from weir.auth.v1 import membership_service_pb2 as pb
from weir.auth.v1 import membership_service_pb2_grpc as pb_grpc

from auth_service.entrypoints import convert
from auth_service.usecases.check_access import CheckAccess
from auth_service.usecases.check_key_access import CheckKeyAccess
from auth_service.usecases.check_team_access import CheckTeamAccess

Context = grpc.aio.ServicerContext[Any, Any]

RPC_SERVICE: Final = "weir.auth.v1.MembershipService"


@dataclass(frozen=True, slots=True)
class MembershipUseCases:
    """What the handlers call."""

    check_access: CheckAccess
    check_team_access: CheckTeamAccess
    check_key_access: CheckKeyAccess


class MembershipHandlers(pb_grpc.MembershipServiceServicer):
    """Serves `MembershipService`."""

    def __init__(self, use_cases: MembershipUseCases) -> None:
        self._use_cases = use_cases

    async def CheckAccess(
        self, request: pb.CheckAccessRequest, context: Context
    ) -> pb.CheckAccessResponse:
        membership, permissions = await self._use_cases.check_access(
            request.user_id, request.project_id, list(request.scopes)
        )
        return convert.access_to_proto(membership, permissions)

    async def CheckTeamAccess(
        self, request: pb.CheckTeamAccessRequest, context: Context
    ) -> pb.CheckTeamAccessResponse:
        membership, permissions = await self._use_cases.check_team_access(
            request.user_id, request.team_id
        )
        return convert.team_access_to_proto(membership, permissions)

    async def CheckKeyAccess(
        self, request: pb.CheckKeyAccessRequest, context: Context
    ) -> pb.CheckKeyAccessResponse:
        membership, permissions = await self._use_cases.check_key_access(
            request.user_id, request.api_key_id, list(request.scopes)
        )
        return convert.key_access_to_proto(request.api_key_id, membership, permissions)
