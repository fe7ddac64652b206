"""gRPC face of access checks for other services."""

from __future__ import annotations

from typing import Any, Final

import grpc
from weir.auth.v1 import membership_service_pb2 as pb
from weir.auth.v1 import membership_service_pb2_grpc as pb_grpc

from auth_service.entrypoints import convert
from auth_service.usecases.check_access import CheckAccess

Context = grpc.aio.ServicerContext[Any, Any]

RPC_SERVICE: Final = "weir.auth.v1.MembershipService"


class MembershipHandlers(pb_grpc.MembershipServiceServicer):
    """Serves `MembershipService`."""

    def __init__(self, check_access: CheckAccess) -> None:
        self._check_access = check_access

    async def CheckAccess(
        self, request: pb.CheckAccessRequest, context: Context
    ) -> pb.CheckAccessResponse:
        membership, permissions = await self._check_access(
            request.user_id, request.project_id, list(request.scopes)
        )
        return convert.access_to_proto(membership, permissions)
