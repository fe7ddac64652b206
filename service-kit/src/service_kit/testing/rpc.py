"""A gRPC service over real mutual TLS on loopback, for tests of handlers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from prometheus_client import CollectorRegistry

from service_kit.grpc_client import open_channel
from service_kit.grpc_server import serving
from service_kit.metrics import new_registry
from service_kit.tls import TlsFiles


@dataclass(frozen=True, slots=True)
class Loopback:
    """A server under test and the certificates to call it with."""

    service: str
    port: int
    pki: Mapping[str, TlsFiles]
    registry: CollectorRegistry

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def channel_as(self, caller: str, **options: Any) -> grpc.aio.Channel:
        """Open a channel as another service; `options` are those of `open_channel`."""
        return open_channel(
            self.address,
            service=self.service,
            tls=self.pki[caller],
            registry=new_registry(caller),
            **options,
        )


@asynccontextmanager
async def serving_loopback(
    pki: Mapping[str, TlsFiles],
    service: str,
    register: Callable[[grpc.aio.Server], None],
    allowed_callers: Mapping[str, Collection[str]],
    **options: Any,
) -> AsyncIterator[Loopback]:
    """Serve on a free port until the block is left; `options` are those of `serving`."""
    registry = new_registry(service)
    settings: dict[str, Any] = {"drain_seconds": 1.0, "registry": registry, **options}
    async with serving(
        "127.0.0.1:0",
        service=service,
        register=register,
        allowed_callers=allowed_callers,
        tls=pki[service],
        **settings,
    ) as port:
        yield Loopback(service, port, pki, settings["registry"])
