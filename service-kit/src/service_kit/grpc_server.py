"""A gRPC server that knows who calls, answers health checks, and stops without cutting calls off.

Every call passes, from the outside in: request id and deadline; metrics, which
count refusals too; errors; the shortened deadline; the allow-list of calling
services; the user's token; the handler.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry

from service_kit.grpc_guards import CallerRule, CallInterceptor, TokenRule
from service_kit.grpc_health import Health
from service_kit.grpc_wrapping import StreamCloser
from service_kit.metrics import kit_metrics
from service_kit.tls import TlsFiles
from service_kit.tokens import TokenVerifier

MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # A second process on the same port would silently take half of the calls.
    ("grpc.so_reuseport", 0),
    # Clients of ours ping every 5 s, also between calls.
    ("grpc.http2.min_ping_interval_without_data_ms", 4_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Calls that run go on, new ones go over a new connection: only when one ends does a client
    # look its server's name up again, and so learns of replicas that were added.
    ("grpc.max_connection_age_ms", 300_000),
)


@asynccontextmanager
async def serving(
    address: str,
    *,
    service: str,
    register: Callable[[grpc.aio.Server], None],
    allowed_callers: Mapping[str, Collection[str]],
    tls: TlsFiles,
    drain_seconds: float,
    registry: CollectorRegistry,
    authenticate: Mapping[str, TokenVerifier] | None = None,
    unauthenticated_methods: Collection[str] = (),
    first_interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
) -> AsyncIterator[int]:
    """Serve until the block is left, and give the port that was bound.

    Args:
        address: Where to listen, "host:port"; port 0 takes a free one.
        service: Our own name, "job-service"; errors come from the domain "job.weir".
        register: Adds our servicers to the server.
        allowed_callers: RPC service -> services that may call it. One that is not
            named refuses everybody with `CALLER_NOT_ALLOWED`.
        tls: Our certificate. Clients without one of the same authority fail the handshake.
        drain_seconds: How long running calls may go on once the block is left.
        registry: Where the metrics go.
        authenticate: RPC service -> verifier of the user tokens it asks for.
        unauthenticated_methods: Full method names in those services that need no token.
        first_interceptors: Tracing, which has to come before the rest.
    """
    server = grpc.aio.server(
        interceptors=[
            StreamCloser(),
            *first_interceptors,
            CallInterceptor(
                domain=f"{service.removesuffix('-service')}.weir",
                metrics=kit_metrics(registry).server,
                callers=CallerRule(allowed_callers),
                tokens=TokenRule(authenticate or {}, unauthenticated_methods),
            ),
        ],
        options=_OPTIONS,
    )
    register(server)
    health = Health(allowed_callers)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    reflection.enable_server_reflection([*allowed_callers, reflection.SERVICE_NAME], server)
    port = server.add_secure_port(address, tls.server_credentials())
    await server.start()
    try:
        yield port
    finally:
        # Health goes first, so that no new call is sent here while old ones finish.
        health.stop()
        await server.stop(grace=drain_seconds)
