"""gRPC face of execution: a stream each way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
from weir.router.v1 import execution_service_pb2 as pb
from weir.router.v1 import execution_service_pb2_grpc as pb_grpc

from compute_router.domain.errors import GoNotGiven
from compute_router.entrypoints import convert
from compute_router.usecases.execute_job import ExecuteJob
from service_kit.errors import InvalidArgument


class ExecutionHandlers(pb_grpc.ExecutionServiceServicer):
    def __init__(self, execute_job: ExecuteJob) -> None:
        self._execute_job = execute_job

    async def Execute(
        self,
        request_iterator: AsyncIterator[pb.ExecuteRequest],
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> AsyncIterator[pb.ExecuteResponse]:
        first = await anext(request_iterator, None)
        if first is None:
            raise InvalidArgument("message", "The stream ended without a `start`.")
        job = convert.job_from_proto(first)
        # Closed in this task when the caller goes away, which stops the target.
        async with aclosing(self._execute_job(job, StreamedGo(request_iterator))) as events:
            async for event in events:
                yield convert.event_to_proto(event)


class StreamedGo:
    """Implements `GoSignal` over the messages that the caller still sends."""

    def __init__(self, requests: AsyncIterator[pb.ExecuteRequest]) -> None:
        self._requests = requests

    async def wait(self, client_task_id: str) -> None:
        request = await anext(self._requests, None)
        if (
            request is None
            or request.WhichOneof("message") != "go"
            or request.go.client_task_id != client_task_id
        ):
            raise GoNotGiven(client_task_id)
