"""job-service: queued jobs, jobs that run while the caller waits, what they tell, receipts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar, cast

import grpc
from weir.job.v1 import job_service_pb2 as pb
from weir.job.v1 import job_service_pb2_grpc as pb_grpc

from service_kit.failpoints import failpoint
from service_kit.grpc_client import NO_DEADLINE
from service_kit.grpc_errors import rpc_errors

Event = TypeVar("Event")


class JobClient:
    """Calls job-service; the channel forwards the current caller's token."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._jobs = pb_grpc.JobServiceStub(channel)

    async def create_job(self, request: pb.CreateJobRequest) -> pb.Job:
        with rpc_errors():
            response = await self._jobs.CreateJob(request)
        await failpoint("after_job_created")
        return response.job

    async def get_job(self, project_id: str, job_id: str) -> pb.Job:
        with rpc_errors():
            response = await self._jobs.GetJob(
                pb.GetJobRequest(project_id=project_id, job_id=job_id)
            )
        return response.job

    async def cancel_job(self, project_id: str, job_id: str) -> pb.Job:
        with rpc_errors():
            response = await self._jobs.CancelJob(
                pb.CancelJobRequest(project_id=project_id, job_id=job_id)
            )
        return response.job

    async def retry_job(self, request: pb.RetryJobRequest) -> pb.Job:
        with rpc_errors():
            return (await self._jobs.RetryJob(request)).job

    async def list_jobs(self, request: pb.ListJobsRequest) -> pb.ListJobsResponse:
        with rpc_errors():
            return await self._jobs.ListJobs(request)

    async def get_receipt(self, project_id: str, job_id: str) -> pb.Receipt:
        with rpc_errors():
            response = await self._jobs.GetReceipt(
                pb.GetReceiptRequest(project_id=project_id, job_id=job_id)
            )
        return response.receipt

    async def list_receipt_keys(self) -> Sequence[pb.ReceiptKey]:
        with rpc_errors():
            response = await self._jobs.ListReceiptKeys(pb.ListReceiptKeysRequest())
        return list(response.keys)

    @asynccontextmanager
    async def run_job(
        self, request: pb.RunJobRequest, timeout_seconds: float
    ) -> AsyncIterator[RunningJob]:
        """Start a job and follow it. Leaving the block early stops the engine."""
        call = self._jobs.RunJob(request, timeout=timeout_seconds)
        try:
            yield EventCall(call)
        finally:
            call.cancel()

    @asynccontextmanager
    async def watch_job(self, request: pb.WatchJobRequest) -> AsyncIterator[WatchedJob]:
        """Follow a job for as long as it takes. Leaving the block changes nothing for the job."""
        call = self._jobs.WatchJob(request, timeout=NO_DEADLINE)
        try:
            yield EventCall(call)
        finally:
            call.cancel()


class EventCall(Generic[Event]):
    """The events of a job, as they come."""

    def __init__(self, call: grpc.aio.UnaryStreamCall[Any, Event]) -> None:
        self._call = call

    async def next_event(self) -> Event | None:
        """Return the next event, or `None` when there are no more.

        Raises:
            ServiceError: As job-service refused or failed it.
        """
        with rpc_errors():
            event = await self._call.read()
        return None if event is grpc.aio.EOF else cast(Event, event)


RunningJob = EventCall[pb.RunJobResponse]
WatchedJob = EventCall[pb.WatchJobResponse]
