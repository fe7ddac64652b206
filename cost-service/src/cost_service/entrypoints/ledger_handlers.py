"""gRPC face of the ledger: convert, call, convert back."""

from __future__ import annotations

from typing import Any

import grpc
from weir.cost.v1 import ledger_service_pb2 as pb
from weir.cost.v1 import ledger_service_pb2_grpc as pb_grpc

from cost_service.entrypoints import convert
from cost_service.usecases.list_open_holds import ListOpenHolds
from cost_service.usecases.place_hold import PlaceHold
from cost_service.usecases.settle_hold import SettleHold

Context = grpc.aio.ServicerContext[Any, Any]


class LedgerHandlers(pb_grpc.LedgerServiceServicer):
    def __init__(
        self, place_hold: PlaceHold, settle_hold: SettleHold, list_open_holds: ListOpenHolds
    ) -> None:
        self._place_hold = place_hold
        self._settle_hold = settle_hold
        self._list_open_holds = list_open_holds

    async def PlaceHold(
        self, request: pb.PlaceHoldRequest, context: Context
    ) -> pb.PlaceHoldResponse:
        hold = await self._place_hold(convert.hold_request_from_proto(request))
        return pb.PlaceHoldResponse(hold=convert.hold_to_proto(hold))

    async def PostHold(self, request: pb.PostHoldRequest, context: Context) -> pb.PostHoldResponse:
        booked = await self._settle_hold(convert.post_from_proto(request))
        return pb.PostHoldResponse(booked=booked)

    async def VoidHold(self, request: pb.VoidHoldRequest, context: Context) -> pb.VoidHoldResponse:
        booked = await self._settle_hold(convert.void_from_proto(request))
        return pb.VoidHoldResponse(booked=booked)

    async def ListOpenHolds(
        self, request: pb.ListOpenHoldsRequest, context: Context
    ) -> pb.ListOpenHoldsResponse:
        holds, next_page_token = await self._list_open_holds(
            request.min_age_seconds, request.page_size, request.page_token
        )
        return pb.ListOpenHoldsResponse(
            holds=[convert.hold_to_proto(hold) for hold in holds], next_page_token=next_page_token
        )
