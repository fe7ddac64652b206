"""job-service: jobs that Weir gave up on."""

from __future__ import annotations

from typing import Final

import grpc
from weir.job.v1 import dead_letter_service_pb2 as pb
from weir.job.v1 import dead_letter_service_pb2_grpc as pb_grpc
from weir.job.v1 import job_service_pb2 as job_pb

from service_kit.grpc_errors import rpc_errors

# Each of up to a thousand is a transaction of its own.
MANY_SECONDS: Final = 60.0


class DeadLetterClient:
    """Calls job-service; the channel forwards the current caller's token."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._dead_letters = pb_grpc.DeadLetterServiceStub(channel)

    async def list(self, request: pb.ListDeadLettersRequest) -> pb.ListDeadLettersResponse:
        with rpc_errors():
            return await self._dead_letters.ListDeadLetters(request)

    async def get(self, project_id: str, job_id: str) -> pb.DeadLetter:
        with rpc_errors():
            response = await self._dead_letters.GetDeadLetter(
                pb.GetDeadLetterRequest(project_id=project_id, job_id=job_id)
            )
        return response.dead_letter

    async def redrive(self, request: pb.RedriveDeadLetterRequest) -> job_pb.Job:
        with rpc_errors():
            return (await self._dead_letters.RedriveDeadLetter(request)).job

    async def redrive_many(
        self, request: pb.RedriveDeadLettersRequest
    ) -> pb.RedriveDeadLettersResponse:
        with rpc_errors():
            return await self._dead_letters.RedriveDeadLetters(request, timeout=MANY_SECONDS)

    async def purge(self, project_id: str, job_id: str) -> None:
        with rpc_errors():
            await self._dead_letters.PurgeDeadLetter(
                pb.PurgeDeadLetterRequest(project_id=project_id, job_id=job_id)
            )
