"""gRPC face of the job use cases: convert, call, convert back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

import grpc
from weir.job.v1 import job_service_pb2 as pb
from weir.job.v1 import job_service_pb2_grpc as pb_grpc

from job_service.domain.specification import JobKind
from job_service.entrypoints import convert
from job_service.entrypoints.convert_events import told_to_proto
from job_service.usecases.cancel_job import CancelJob
from job_service.usecases.create_job import CreateJob
from job_service.usecases.get_job import GetJob, ListJobs
from job_service.usecases.get_receipt import GetReceipt, ListReceiptKeys
from job_service.usecases.readmit_job import RetryRoute, RetryWish
from job_service.usecases.retry_job import RetryJob
from job_service.usecases.run_job import RunJob
from job_service.usecases.submit_job import Submission
from job_service.usecases.watch_job import WatchJob
from service_kit import paging
from service_kit.access import AccessChecks, ProjectAccess
from service_kit.errors import InvalidArgument
from service_kit.request_context import Caller, caller, request_id

Context = grpc.aio.ServicerContext[Any, Any]
MAX_RETRIES: Final = 10


@dataclass(frozen=True, slots=True)
class JobUseCases:
    create: CreateJob
    run: RunJob
    get: GetJob
    list: ListJobs
    cancel: CancelJob
    retry: RetryJob
    receipt: GetReceipt
    receipt_keys: ListReceiptKeys
    watch: WatchJob


class JobHandlers(pb_grpc.JobServiceServicer):
    def __init__(
        self, use_cases: JobUseCases, access: AccessChecks, default_max_retries: int
    ) -> None:
        self._use_cases = use_cases
        self._access = access
        self._default_max_retries = default_max_retries

    async def CreateJob(
        self, request: pb.CreateJobRequest, context: Context
    ) -> pb.CreateJobResponse:
        access = await self._access.require(caller(), request.project_id, "jobs:write")
        submission = _submission(
            access,
            JobKind.QUEUED,
            request.specification,
            request.request_id,
            self._max_retries(request),
            request.priority,
        )
        return pb.CreateJobResponse(
            job=convert.job_to_proto(await self._use_cases.create(submission))
        )

    async def RunJob(
        self, request: pb.RunJobRequest, context: Context
    ) -> AsyncIterator[pb.RunJobResponse]:
        access = await self._access.require(caller(), request.project_id, "inference")
        submission = _submission(
            access, JobKind.INTERACTIVE, request.specification, request.request_id, 0
        )
        async with aclosing(self._use_cases.run(submission)) as events:
            async for event in events:
                yield convert.run_event_to_proto(event)

    async def GetJob(self, request: pb.GetJobRequest, context: Context) -> pb.GetJobResponse:
        access = await self._access.require(caller(), request.project_id, "jobs:read")
        job = await self._use_cases.get(access.project_id, request.job_id)
        return pb.GetJobResponse(job=convert.job_to_proto(job))

    async def ListJobs(self, request: pb.ListJobsRequest, context: Context) -> pb.ListJobsResponse:
        access = await self._access.require(caller(), request.project_id, "jobs:read")
        state = convert.state_from_proto(request.state)
        scope = ("jobs", access.project_id, request.state)
        after = convert.position_from(paging.decode_page_token(request.page_token, scope=scope))
        size = paging.page_size(request.page_size, default=50, maximum=100)
        # One more than asked for tells whether there is a next page.
        found = await self._use_cases.list(access.project_id, state, size + 1, after)
        page = found[:size]
        response = pb.ListJobsResponse(jobs=[convert.job_to_proto(job) for job in page])
        if len(found) > size:
            response.next_page_token = paging.encode_page_token(
                convert.position_of(page[-1]), scope=scope
            )
        return response

    async def CancelJob(
        self, request: pb.CancelJobRequest, context: Context
    ) -> pb.CancelJobResponse:
        access = await self._access.require(caller(), request.project_id, "jobs:write")
        job = await self._use_cases.cancel(access.project_id, request.job_id)
        return pb.CancelJobResponse(job=convert.job_to_proto(job))

    async def RetryJob(self, request: pb.RetryJobRequest, context: Context) -> pb.RetryJobResponse:
        access = await self._access.require(caller(), request.project_id, "jobs:write")
        wish = RetryWish(
            access.project_id,
            request.job_id,
            RetryRoute.RETRY,
            actor_of(caller()),
            request.request_id,
        )
        return pb.RetryJobResponse(job=convert.job_to_proto(await self._use_cases.retry(wish)))

    async def WatchJob(
        self, request: pb.WatchJobRequest, context: Context
    ) -> AsyncIterator[pb.WatchJobResponse]:
        access = await self._access.require(caller(), request.project_id, "jobs:read")
        watching = self._use_cases.watch(access.project_id, request.job_id, request.after)
        async with aclosing(watching) as events:
            async for told in events:
                yield told_to_proto(told)

    async def GetReceipt(
        self, request: pb.GetReceiptRequest, context: Context
    ) -> pb.GetReceiptResponse:
        access = await self._access.require(caller(), request.project_id, "jobs:read")
        found = await self._use_cases.receipt(access.project_id, request.job_id)
        return pb.GetReceiptResponse(receipt=convert.receipt_to_proto(found))

    async def ListReceiptKeys(
        self, request: pb.ListReceiptKeysRequest, context: Context
    ) -> pb.ListReceiptKeysResponse:
        keys = await self._use_cases.receipt_keys()
        return pb.ListReceiptKeysResponse(keys=[convert.receipt_key_to_proto(key) for key in keys])

    def _max_retries(self, request: pb.CreateJobRequest) -> int:
        if not request.HasField("max_retries"):
            return self._default_max_retries
        if not 0 <= request.max_retries <= MAX_RETRIES:
            raise InvalidArgument("max_retries", f"This must be a number from 0 to {MAX_RETRIES}.")
        return request.max_retries


def actor_of(caller: Caller) -> str:
    """Return the caller as the audit trail names it."""
    return f"key:{caller.key_id}" if caller.kind == "api_key" else f"user:{caller.user_id}"


def _submission(
    access: ProjectAccess,
    kind: JobKind,
    specification: pb.JobSpecification,
    key: str,
    max_retries: int,
    priority: int = 0,
) -> Submission:
    return Submission(
        project_id=access.project_id,
        owner_user_id=access.owner_user_id,
        is_default_project=access.is_default,
        team_id=access.team_id,
        kind=kind,
        specification=convert.specification_from_proto(specification),
        key=key,
        max_retries=max_retries,
        origin_request_id=request_id(),
        priority=priority,
        api_key_id=caller().key_id or "",
    )
