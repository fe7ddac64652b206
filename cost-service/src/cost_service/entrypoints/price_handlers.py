"""gRPC face of the price book."""

from __future__ import annotations

from typing import Any

import grpc
from weir.cost.v1 import price_service_pb2 as pb
from weir.cost.v1 import price_service_pb2_grpc as pb_grpc

from cost_service.entrypoints import convert
from cost_service.usecases.get_price_snapshot import GetPriceSnapshot

Context = grpc.aio.ServicerContext[Any, Any]


class PriceHandlers(pb_grpc.PriceServiceServicer):
    def __init__(self, get_price_snapshot: GetPriceSnapshot) -> None:
        self._get_price_snapshot = get_price_snapshot

    async def GetPriceSnapshot(
        self, request: pb.GetPriceSnapshotRequest, context: Context
    ) -> pb.GetPriceSnapshotResponse:
        snapshot = await self._get_price_snapshot()
        return pb.GetPriceSnapshotResponse(price_snapshot=convert.price_snapshot_to_proto(snapshot))
