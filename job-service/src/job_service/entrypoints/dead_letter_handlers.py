"""gRPC face of the dead letter use cases: convert, call, convert back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import grpc
from weir.job.v1 import dead_letter_service_pb2 as pb
from weir.job.v1 import dead_letter_service_pb2_grpc as pb_grpc

from job_service.domain.dead_letter import DeadLetterFilter
from job_service.entrypoints.convert import job_to_proto, place_from, place_in_list
from job_service.entrypoints.convert_dead_letters import dead_letter_to_proto
from job_service.entrypoints.job_handlers import actor_of
from job_service.usecases.dead_letter_ports import DeadLetterPosition
from job_service.usecases.get_dead_letter import GetDeadLetter, ListDeadLetters
from job_service.usecases.purge_dead_letter import PurgeDeadLetter
from job_service.usecases.readmit_job import RetryRoute, RetryWish
from job_service.usecases.redrive_dead_letters import RedriveDeadLetters
from job_service.usecases.retry_job import RetryJob
from service_kit import paging
from service_kit.access import AccessChecks
from service_kit.errors import InvalidArgument
from service_kit.request_context import caller

Context = grpc.aio.ServicerContext[Any, Any]
MOST_REDRIVEN: Final = 1000
MOST_CHARACTERS: Final = 64


@dataclass(frozen=True, slots=True)
class DeadLetterUseCases:
    list: ListDeadLetters
    get: GetDeadLetter
    redrive: RetryJob
    redrive_many: RedriveDeadLetters
    purge: PurgeDeadLetter


class DeadLetterHandlers(pb_grpc.DeadLetterServiceServicer):
    def __init__(self, use_cases: DeadLetterUseCases, access: AccessChecks) -> None:
        self._use_cases = use_cases
        self._access = access

    async def ListDeadLetters(
        self, request: pb.ListDeadLettersRequest, context: Context
    ) -> pb.ListDeadLettersResponse:
        access = await self._access.require(caller(), request.project_id, "jobs:read")
        which = _filter(access.project_id, request)
        scope = ("dead_letters", access.project_id, request.type, request.failure_reason)
        place = paging.decode_page_token(request.page_token, scope=scope)
        after = DeadLetterPosition(*place_from(place)) if place is not None else None
        size = paging.page_size(request.page_size, default=50, maximum=100)
        # One more than asked for tells whether there is a next page.
        found = await self._use_cases.list(which, size + 1, after)
        page = found[:size]
        response = pb.ListDeadLettersResponse(jobs=[job_to_proto(job) for job in page])
        if len(found) > size:
            response.next_page_token = paging.encode_page_token(
                place_in_list(page[-1].completed_at, page[-1].id), scope=scope
            )
        return response

    async def GetDeadLetter(
        self, request: pb.GetDeadLetterRequest, context: Context
    ) -> pb.GetDeadLetterResponse:
        access = await self._access.require(caller(), request.project_id, "jobs:read")
        found = await self._use_cases.get(access.project_id, request.job_id)
        return pb.GetDeadLetterResponse(dead_letter=dead_letter_to_proto(found))

    async def RedriveDeadLetter(
        self, request: pb.RedriveDeadLetterRequest, context: Context
    ) -> pb.RedriveDeadLetterResponse:
        access = await self._access.require(caller(), request.project_id, "jobs:write")
        wish = RetryWish(
            access.project_id,
            request.job_id,
            RetryRoute.REDRIVE,
            actor_of(caller()),
            request.request_id,
        )
        return pb.RedriveDeadLetterResponse(job=job_to_proto(await self._use_cases.redrive(wish)))

    async def RedriveDeadLetters(
        self, request: pb.RedriveDeadLettersRequest, context: Context
    ) -> pb.RedriveDeadLettersResponse:
        access = await self._access.require(caller(), request.project_id, "jobs:write")
        redriven = await self._use_cases.redrive_many(
            _filter(access.project_id, request),
            _limit(request),
            actor=actor_of(caller()),
            key=request.request_id,
        )
        return pb.RedriveDeadLettersResponse(
            job_ids=redriven.job_ids,
            refusals=[
                pb.RedriveDeadLettersResponse.Refusal(job_id=each.job_id, reason=each.reason)
                for each in redriven.refusals
            ],
        )

    async def PurgeDeadLetter(
        self, request: pb.PurgeDeadLetterRequest, context: Context
    ) -> pb.PurgeDeadLetterResponse:
        access = await self._access.require(caller(), request.project_id, "jobs:write")
        await self._use_cases.purge(access.project_id, request.job_id, actor=actor_of(caller()))
        return pb.PurgeDeadLetterResponse()


def _filter(
    project_id: str, request: pb.ListDeadLettersRequest | pb.RedriveDeadLettersRequest
) -> DeadLetterFilter:
    for field, value in (("type", request.type), ("failure_reason", request.failure_reason)):
        if len(value) > MOST_CHARACTERS or "\0" in value:
            raise InvalidArgument(field, f"This has at most {MOST_CHARACTERS} characters.")
    return DeadLetterFilter(project_id, request.type, request.failure_reason)


def _limit(request: pb.RedriveDeadLettersRequest) -> int:
    if not 0 <= request.limit <= MOST_REDRIVEN:
        raise InvalidArgument("limit", f"This must be a number from 1 to {MOST_REDRIVEN}.")
    return request.limit or 100
