"""job-service: queued jobs, and jobs that run while the caller waits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from weir.job.v1 import job_service_pb2 as pb
from weir.job.v1 import job_service_pb2_grpc as pb_grpc

from service_kit.grpc_errors import rpc_errors


class JobClient:
    """Calls job-service; the channel forwards the current caller's token."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._jobs = pb_grpc.JobServiceStub(channel)

    async def create_job(self, request: pb.CreateJobRequest) -> pb.Job:
        with rpc_errors():
            response = await self._jobs.CreateJob(request)
        return response.job

    async def get_job(self, project_id: str, job_id: str) -> pb.Job:
        with rpc_errors():
            response = await self._jobs.GetJob(
                pb.GetJobRequest(project_id=project_id, job_id=job_id)
            )
        return response.job

    async def list_jobs(self, request: pb.ListJobsRequest) -> pb.ListJobsResponse:
        with rpc_errors():
            return await self._jobs.ListJobs(request)

    @asynccontextmanager
    async def run_job(
        self, request: pb.RunJobRequest, timeout_seconds: float
    ) -> AsyncIterator[RunningJob]:
        """Start a job and follow it. Leaving the block early stops the engine."""
        call = self._jobs.RunJob(request, timeout=timeout_seconds)
        try:
            yield RunningJob(call)
        finally:
            call.cancel()


class RunningJob:
    """The events of a job that runs now."""

    def __init__(self, call: grpc.aio.UnaryStreamCall[pb.RunJobRequest, pb.RunJobResponse]) -> None:
        self._call = call

    async def next_event(self) -> pb.RunJobResponse | None:
        """Return the next event, or `None` when there are no more.

        Raises:
            ServiceError: As job-service refused or failed it.
        """
        with rpc_errors():
            event = await self._call.read()
        return event if isinstance(event, pb.RunJobResponse) else None
