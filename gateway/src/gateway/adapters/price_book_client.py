"""cost-service: the price book as people see and extend it."""

from __future__ import annotations

import grpc
from weir.cost.v1 import price_book_service_pb2 as pb
from weir.cost.v1 import price_book_service_pb2_grpc as pb_grpc

from service_kit.grpc_errors import rpc_errors


class PriceBookClient:
    """Calls cost-service; the channel forwards the current caller's token."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._book = pb_grpc.PriceBookServiceStub(channel)

    async def get_version(self, price_version: str) -> pb.PriceVersion:
        """Return a version; "" is the one that is valid now."""
        with rpc_errors():
            response = await self._book.GetPriceVersion(
                pb.GetPriceVersionRequest(price_version=price_version)
            )
        return response.price_version

    async def list_versions(self, page_size: int, page_token: str) -> pb.ListPriceVersionsResponse:
        with rpc_errors():
            response: pb.ListPriceVersionsResponse = await self._book.ListPriceVersions(
                pb.ListPriceVersionsRequest(page_size=page_size, page_token=page_token)
            )
        return response

    async def add_version(self, request: pb.AddPriceVersionRequest) -> pb.AddPriceVersionResponse:
        with rpc_errors():
            response: pb.AddPriceVersionResponse = await self._book.AddPriceVersion(request)
        return response
