"""The router's registry of workers, over gRPC."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import grpc
from weir.router.v1 import router_service_pb2, worker_registry_service_pb2_grpc
from weir.router.v1 import worker_registry_service_pb2 as pb
from weir.worker.v1 import inference_service_pb2

from gpu_worker.domain.prompt import Operation
from gpu_worker.usecases.ports import Announcement
from service_kit.grpc_errors import rpc_errors

_SECONDS: Final = 2.0
_OPERATIONS: Final = {
    Operation.CHAT: inference_service_pb2.OPERATION_CHAT,
    Operation.COMPLETION: inference_service_pb2.OPERATION_COMPLETION,
    Operation.EMBEDDING: inference_service_pb2.OPERATION_EMBEDDING,
}


class RouterRegistryClient:
    """Implements `WorkerRegistry` over a channel to compute-router."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = worker_registry_service_pb2_grpc.WorkerRegistryServiceStub(channel)

    async def register(self, announcement: Announcement) -> timedelta:
        with rpc_errors():
            response = await self._stub.RegisterWorker(
                pb.RegisterWorkerRequest(worker=worker_to_proto(announcement)), timeout=_SECONDS
            )
        return timedelta(seconds=response.lease_seconds)

    async def deregister(self, worker_id: str) -> None:
        with rpc_errors():
            await self._stub.DeregisterWorker(
                pb.DeregisterWorkerRequest(worker_id=worker_id), timeout=_SECONDS
            )


def worker_to_proto(announcement: Announcement) -> pb.Worker:
    """Write an announcement as the router reads it."""
    model = announcement.model
    return pb.Worker(
        worker_id=announcement.worker_id,
        address=announcement.address,
        models=[
            router_service_pb2.Model(
                model=model.name,
                context_tokens=model.context_tokens,
                default_max_tokens=model.default_max_tokens,
                template_overhead_tokens=model.overhead.prompt_tokens,
                message_overhead_tokens=model.overhead.message_tokens,
                model_digest=model.digest,
                operations=[_OPERATIONS[operation] for operation in model.operations],
            )
        ],
        slots_total=announcement.slots_total,
        slots_busy=announcement.slots_busy,
        device=announcement.device,
        draining=announcement.draining,
        tokens_per_second=announcement.tokens_per_second,
    )
