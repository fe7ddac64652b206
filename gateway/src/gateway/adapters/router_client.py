"""compute-router: what it serves, and what it would decide."""

from __future__ import annotations

from collections.abc import Sequence

import grpc
from weir.router.v1 import router_service_pb2 as pb
from weir.router.v1 import router_service_pb2_grpc as pb_grpc

from service_kit.grpc_errors import rpc_errors


class RouterClient:
    """Calls compute-router, which trusts our certificate and knows no users."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._router = pb_grpc.RouterServiceStub(channel)

    async def explain_route(self, query: pb.RouteQuery) -> pb.RouteDecision:
        with rpc_errors():
            response = await self._router.ExplainRoute(pb.ExplainRouteRequest(query=query))
        return response.decision

    async def list_targets(self) -> Sequence[pb.Target]:
        with rpc_errors():
            response = await self._router.ListTargets(pb.ListTargetsRequest())
        return list(response.targets)
