"""gRPC face of what is booked after a charge."""

from __future__ import annotations

from typing import Any

import grpc
from weir.cost.v1 import correction_service_pb2 as pb
from weir.cost.v1 import correction_service_pb2_grpc as pb_grpc

from cost_service.domain.settlement import EntryKind
from cost_service.entrypoints import convert_corrections
from cost_service.usecases.correct_charge import CorrectCharge
from cost_service.usecases.list_job_entries import ListJobEntries
from service_kit.request_context import caller

Context = grpc.aio.ServicerContext[Any, Any]


class CorrectionHandlers(pb_grpc.CorrectionServiceServicer):
    def __init__(self, correct_charge: CorrectCharge, list_job_entries: ListJobEntries) -> None:
        self._correct_charge = correct_charge
        self._list_job_entries = list_job_entries

    async def RefundJob(
        self, request: pb.RefundJobRequest, context: Context
    ) -> pb.RefundJobResponse:
        correction = convert_corrections.correction_from_proto(request, EntryKind.REFUND)
        entry = await self._correct_charge(caller(), correction)
        return pb.RefundJobResponse(entry=convert_corrections.entry_to_proto(entry))

    async def SurchargeJob(
        self, request: pb.SurchargeJobRequest, context: Context
    ) -> pb.SurchargeJobResponse:
        correction = convert_corrections.correction_from_proto(request, EntryKind.SURCHARGE)
        entry = await self._correct_charge(caller(), correction)
        return pb.SurchargeJobResponse(entry=convert_corrections.entry_to_proto(entry))

    async def ListJobEntries(
        self, request: pb.ListJobEntriesRequest, context: Context
    ) -> pb.ListJobEntriesResponse:
        entries, next_page_token = await self._list_job_entries(
            caller(), request.project_id, request.job_id, request.page_size, request.page_token
        )
        return pb.ListJobEntriesResponse(
            entries=[convert_corrections.entry_to_proto(entry) for entry in entries],
            next_page_token=next_page_token,
        )
