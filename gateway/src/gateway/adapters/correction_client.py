"""cost-service: refunds, surcharges, and everything that was booked for a job."""

from __future__ import annotations

import grpc
from weir.cost.v1 import correction_service_pb2 as pb
from weir.cost.v1 import correction_service_pb2_grpc as pb_grpc

from service_kit.grpc_errors import rpc_errors


class CorrectionClient:
    """Calls cost-service; the channel forwards the current caller's token."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._corrections = pb_grpc.CorrectionServiceStub(channel)

    async def refund(self, request: pb.RefundJobRequest) -> pb.LedgerEntry:
        with rpc_errors():
            response = await self._corrections.RefundJob(request)
        return response.entry

    async def surcharge(self, request: pb.SurchargeJobRequest) -> pb.LedgerEntry:
        with rpc_errors():
            response = await self._corrections.SurchargeJob(request)
        return response.entry

    async def list_entries(self, request: pb.ListJobEntriesRequest) -> pb.ListJobEntriesResponse:
        with rpc_errors():
            response: pb.ListJobEntriesResponse = await self._corrections.ListJobEntries(request)
        return response
