"""gRPC face of decisions: what the router knows and would do."""

from __future__ import annotations

from typing import Any

import grpc
from weir.router.v1 import router_service_pb2 as pb
from weir.router.v1 import router_service_pb2_grpc as pb_grpc

from compute_router.entrypoints import convert
from compute_router.usecases.decide_route import DecideRoute


class RouterHandlers(pb_grpc.RouterServiceServicer):
    def __init__(self, decide_route: DecideRoute) -> None:
        self._decide_route = decide_route

    async def ExplainRoute(
        self, request: pb.ExplainRouteRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ExplainRouteResponse:
        decision = self._decide_route(convert.query_from_proto(request.query))
        return pb.ExplainRouteResponse(decision=convert.decision_to_proto(decision))

    async def ListTargets(
        self, request: pb.ListTargetsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListTargetsResponse:
        states = self._decide_route.target_states()
        return pb.ListTargetsResponse(targets=[convert.target_to_proto(s) for s in states])
