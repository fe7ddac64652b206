"""gRPC face of the registry: workers announce themselves."""

from __future__ import annotations

from typing import Any

import grpc
from weir.router.v1 import worker_registry_service_pb2 as pb
from weir.router.v1 import worker_registry_service_pb2_grpc as pb_grpc

from compute_router.entrypoints import convert
from compute_router.usecases.deregister_worker import DeregisterWorker
from compute_router.usecases.register_worker import RegisterWorker
from service_kit import request_context


class WorkerRegistryHandlers(pb_grpc.WorkerRegistryServiceServicer):
    def __init__(
        self, register_worker: RegisterWorker, deregister_worker: DeregisterWorker
    ) -> None:
        self._register_worker = register_worker
        self._deregister_worker = deregister_worker

    async def RegisterWorker(
        self, request: pb.RegisterWorkerRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RegisterWorkerResponse:
        worker = convert.worker_from_proto(request.worker)
        lease = await self._register_worker(request_context.peer().instance, worker)
        return pb.RegisterWorkerResponse(lease_seconds=convert.lease_to_proto(lease))

    async def DeregisterWorker(
        self, request: pb.DeregisterWorkerRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.DeregisterWorkerResponse:
        await self._deregister_worker(request_context.peer().instance, request.worker_id)
        return pb.DeregisterWorkerResponse()
