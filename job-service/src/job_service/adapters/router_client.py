"""compute-router: which targets there are, and executions on them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from weir.router.v1 import execution_service_pb2 as execution_pb
from weir.router.v1 import execution_service_pb2_grpc as execution_grpc
from weir.router.v1 import router_service_pb2 as router_pb
from weir.router.v1 import router_service_pb2_grpc as router_grpc

from job_service.adapters import router_convert
from job_service.domain.execution import ExecutionEvent, Finished
from job_service.domain.job import Job
from job_service.domain.targets import Target, remembering
from service_kit.errors import Unavailable
from service_kit.grpc_errors import rpc_errors


class KeptTargets:
    """The port `Targets`: what the router last listed."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._router = router_grpc.RouterServiceStub(channel)
        self._targets: tuple[Target, ...] | None = None

    def current(self) -> tuple[Target, ...]:
        if self._targets is None:
            raise Unavailable("list of targets")
        return self._targets

    async def refresh(self) -> None:
        """Ask the router. Run it in a loop; what was listed stays while the router is away."""
        with rpc_errors():
            response = await self._router.ListTargets(router_pb.ListTargetsRequest())
        listed = [router_convert.target_from_proto(target) for target in response.targets]
        self._targets = remembering(self._targets or (), listed)


class RouterExecutor:
    """The port `Executor`.

    Args:
        channel: To compute-router.
        timeout_seconds: How long one attempt may take in all.
    """

    def __init__(self, channel: grpc.aio.Channel, timeout_seconds: float) -> None:
        self._execution = execution_grpc.ExecutionServiceStub(channel)
        self._timeout_seconds = timeout_seconds

    @asynccontextmanager
    async def execute(self, job: Job) -> AsyncIterator[RouterStream]:
        call = self._execution.Execute(timeout=self._timeout_seconds)
        stream = RouterStream(call)
        try:
            await stream.write(router_convert.start_to_proto(job))
            yield stream
        finally:
            stream.stop()


class RouterStream:
    """The port `ExecutionStream` over one call."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._is_stopped = False

    async def events(self) -> AsyncIterator[ExecutionEvent]:
        try:
            with rpc_errors():
                async for response in self._call:
                    event = router_convert.event_from_proto(response)
                    if event is not None:
                        yield event
                    if isinstance(event, Finished):
                        return
        except asyncio.CancelledError:
            # grpc.aio ends a cancelled call like this, whoever cancelled it.
            if _is_task_cancelled():
                raise
            if not self._is_stopped:
                raise Unavailable("compute-router") from None

    async def go(self, client_task_id: str) -> None:
        await self.write(
            execution_pb.ExecuteRequest(
                go=execution_pb.ExecuteRequest.Go(client_task_id=client_task_id)
            )
        )

    async def write(self, message: execution_pb.ExecuteRequest) -> None:
        """Send a message. To a call that is over it is not sent: reading tells why."""
        try:
            with rpc_errors():
                await self._call.write(message)
        except asyncio.InvalidStateError:
            return
        except asyncio.CancelledError:
            if _is_task_cancelled() or not self._is_stopped:
                raise

    def stop(self) -> None:
        self._is_stopped = True
        self._call.cancel()


def _is_task_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
