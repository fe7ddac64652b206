"""Health over gRPC: well until we stop, and then everybody who watches is told.

The servicer of grpcio-health-checking keeps watchers for ever, so each of them
would hold up a server that drains.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service_kit.grpc_wrapping import Context

_Status = health_pb2.HealthCheckResponse


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # it ships no types
    """Answers for the server as a whole ("") and for each of its RPC services.

    Args:
        services: The full names of the RPC services.
    """

    def __init__(self, services: Collection[str]) -> None:
        self._services = {"", *services}
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Say from now on that nothing is served here, and let the watchers go."""
        self._stopping.set()

    async def Check(self, request: Any, context: Context) -> Any:
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "No such service.")
        return _Status(status=self._status(request.service))

    async def Watch(self, request: Any, _context: Context) -> AsyncIterator[Any]:
        yield _Status(status=self._status(request.service))
        await self._stopping.wait()
        yield _Status(status=self._status(request.service))

    def _status(self, service: str) -> Any:
        if service not in self._services:
            return _Status.SERVICE_UNKNOWN
        return _Status.NOT_SERVING if self._stopping.is_set() else _Status.SERVING
