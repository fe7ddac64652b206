"""gRPC face of the price book as people see it."""

from __future__ import annotations

from typing import Any

import grpc
from weir.cost.v1 import price_book_service_pb2 as pb
from weir.cost.v1 import price_book_service_pb2_grpc as pb_grpc

from cost_service.entrypoints import convert_prices
from cost_service.usecases.add_price_version import AddPriceVersion
from cost_service.usecases.get_price_version import GetPriceVersion
from cost_service.usecases.list_price_versions import ListPriceVersions
from service_kit.request_context import caller

Context = grpc.aio.ServicerContext[Any, Any]


class PriceBookHandlers(pb_grpc.PriceBookServiceServicer):
    def __init__(
        self,
        list_price_versions: ListPriceVersions,
        get_price_version: GetPriceVersion,
        add_price_version: AddPriceVersion,
    ) -> None:
        self._list_price_versions = list_price_versions
        self._get_price_version = get_price_version
        self._add_price_version = add_price_version

    async def ListPriceVersions(
        self, request: pb.ListPriceVersionsRequest, context: Context
    ) -> pb.ListPriceVersionsResponse:
        versions, next_page_token = await self._list_price_versions(
            request.page_size, request.page_token
        )
        return pb.ListPriceVersionsResponse(
            price_versions=[convert_prices.version_to_proto(version) for version in versions],
            next_page_token=next_page_token,
        )

    async def GetPriceVersion(
        self, request: pb.GetPriceVersionRequest, context: Context
    ) -> pb.GetPriceVersionResponse:
        version = await self._get_price_version(request.price_version)
        return pb.GetPriceVersionResponse(price_version=convert_prices.version_to_proto(version))

    async def AddPriceVersion(
        self, request: pb.AddPriceVersionRequest, context: Context
    ) -> pb.AddPriceVersionResponse:
        added = await self._add_price_version(
            caller(), request.request_id, convert_prices.version_from_proto(request)
        )
        return convert_prices.added_to_proto(added)
