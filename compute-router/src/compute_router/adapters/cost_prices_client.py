"""The price book of cost-service, over gRPC."""

from __future__ import annotations

import grpc
from weir.cost.v1 import price_service_pb2 as pb
from weir.cost.v1 import price_service_pb2_grpc as pb_grpc

from compute_router.domain.prices import Price, PriceBook
from service_kit.grpc_errors import rpc_errors


class CostPricesClient:
    """Implements `PriceSource` over a channel to cost-service."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = pb_grpc.PriceServiceStub(channel)

    async def get_price_book(self) -> PriceBook:
        with rpc_errors():
            response = await self._stub.GetPriceSnapshot(pb.GetPriceSnapshotRequest())
        return book_from_proto(response.price_snapshot)


def book_from_proto(snapshot: pb.PriceSnapshot) -> PriceBook:
    return PriceBook(
        version=snapshot.price_version,
        prices={
            (price.target, price.model): Price(
                price.input_nanousd_per_million, price.output_nanousd_per_million
            )
            for price in snapshot.prices
        },
    )
