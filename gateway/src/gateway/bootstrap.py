"""Composition root: the only module that knows every concrete class."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry

from gateway.adapters.auth_client import AuthClient
from gateway.adapters.budget_client import BudgetClient
from gateway.adapters.correction_client import CorrectionClient
from gateway.adapters.cost_client import CostClient
from gateway.adapters.dead_letter_client import DeadLetterClient
from gateway.adapters.job_client import JobClient
from gateway.adapters.kept_receipt_keys import KeptReceiptKeys
from gateway.adapters.local_rates import LocalRates
from gateway.adapters.price_book_client import PriceBookClient
from gateway.adapters.redis_rates import RedisRates
from gateway.adapters.report_client import ReportClient
from gateway.adapters.router_client import RouterClient
from gateway.adapters.team_client import TeamClient
from gateway.domain.rate import RateLimit
from gateway.entrypoints.edge import Edge
from gateway.entrypoints.event_streams import EventStreams
from gateway.entrypoints.http_app import create_app
from gateway.entrypoints.http_protocol import guarded_protocol
from gateway.entrypoints.socket_protocol import socket_options
from gateway.settings import Settings
from gateway.usecases.authenticate import Authenticate
from gateway.usecases.create_project import CreateProject
from gateway.usecases.exchange_api_key import ExchangeApiKey
from gateway.usecases.find_in_projects import FindInProjects
from service_kit.access import AccessChecks
from service_kit.clock import SystemClock
from service_kit.errors import Unavailable
from service_kit.grpc_client import open_channel
from service_kit.grpc_errors import rpc_errors
from service_kit.http_server import (
    ReadinessChecks,
    serving_http,
    serving_side_http,
    watching,
)
from service_kit.loop import PeriodicLoop, running
from service_kit.metrics import new_registry
from service_kit.redis_client import check_redis, open_redis
from service_kit.tokens import Denial, TokenVerifier

log = structlog.get_logger(__name__)

SERVICE: Final = "gateway"
REFRESH_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the gateway listens."""

    api_port: int
    side_port: int


@asynccontextmanager
async def gateway(settings: Settings) -> AsyncIterator[Ports]:
    """Open everything the gateway needs; close it in the opposite order."""
    async with AsyncExitStack() as stack:
        registry = new_registry(SERVICE)
        clock = SystemClock()
        dependencies = ReadinessChecks()

        async def channel(
            service: str,
            addresses: str,
            *,
            forward_token: bool = False,
            small_windows: bool = False,
        ) -> grpc.aio.Channel:
            opened = await stack.enter_async_context(
                open_channel(
                    addresses,
                    service=service,
                    tls=settings.tls,
                    registry=registry,
                    forward_token=forward_token,
                    small_windows=small_windows,
                )
            )
            dependencies.add(service, _health_of(opened))
            return opened

        auth_channel = await channel(
            "auth-service", settings.auth_service_addresses, forward_token=True
        )
        auth = AuthClient(auth_channel)
        job_channel = await channel(
            "job-service", settings.job_service_addresses, forward_token=True, small_windows=True
        )
        jobs = JobClient(job_channel)
        cost_channel = await channel(
            "cost-service", settings.cost_service_addresses, forward_token=True
        )
        costs, budgets = CostClient(cost_channel), BudgetClient(cost_channel)
        router = RouterClient(await channel("compute-router", settings.compute_router_addresses))

        dependencies.add("models", lambda: _some_model_is_served(router))

        redis = open_redis(settings.redis_url, connect_timeout_seconds=0.1, decode_responses=False)
        stack.push_async_callback(redis.aclose)
        dependencies.add("redis", lambda: check_redis(redis))

        person_tokens = TokenVerifier(settings.auth_issuer, ["weir"], auth)
        internal_tokens = TokenVerifier(settings.auth_issuer, ["weir-internal"], auth)
        access = AccessChecks(auth, clock)
        person_tokens.on_denial(_forgetting(access))

        async def verifiers_ready() -> bool:
            return person_tokens.ready() and internal_tokens.ready()

        readiness = ReadinessChecks()
        readiness.add("token_verifier", verifiers_ready)

        async def refresh() -> None:
            await person_tokens.refresh()
            await internal_tokens.refresh()
            # Ready as soon as it is, not at the next round of checks.
            await readiness.run_all()

        edge = Edge(
            auth=auth,
            teams=TeamClient(auth_channel),
            jobs=jobs,
            dead_letters=DeadLetterClient(job_channel),
            costs=costs,
            prices=PriceBookClient(cost_channel),
            corrections=CorrectionClient(cost_channel),
            reports=ReportClient(cost_channel),
            budgets=budgets,
            router=router,
            authenticate=Authenticate(person_tokens, internal_tokens, ExchangeApiKey(auth, clock)),
            create_project=CreateProject(auth, budgets),
            find_in_projects=FindInProjects(auth),
            receipt_keys=KeptReceiptKeys(jobs, clock),
            access=access,
            limiter=RedisRates(redis, LocalRates(clock), clock, registry),
            caller_limit=RateLimit("caller", settings.rate_limit_per_minute),
            address_limit=RateLimit("address", settings.auth_rate_limit_per_minute),
            readiness=readiness,
            dependencies=dependencies,
            completion_seconds=settings.completion_seconds,
            keep_alive_seconds=settings.keep_alive_seconds,
            event_streams=EventStreams(settings.events_per_caller, registry),
            socket_origins=frozenset(settings.cors_origins),
            clock=clock,
        )
        await stack.enter_async_context(
            running(
                PeriodicLoop("token-verifier", REFRESH_SECONDS, refresh, registry=registry),
                watching(dependencies),
            )
        )
        yield await _serve(stack, settings, edge, registry)


async def _some_model_is_served(router: RouterClient) -> bool:
    """Tell whether a prompt could run somewhere now."""
    return any(target.available for target in await router.list_targets())


async def _serve(
    stack: AsyncExitStack, settings: Settings, edge: Edge, registry: CollectorRegistry
) -> Ports:
    api_port = await stack.enter_async_context(
        serving_http(
            create_app(settings, edge, registry),
            f"{settings.api_host}:{settings.api_port}",
            drain_seconds=settings.drain_seconds,
            http=guarded_protocol(settings.header_seconds, settings.slow_reader_seconds),
            lifespan="off",
            # X-Forwarded-For is read by `client_address`, which trusts no client.
            proxy_headers=False,
            timeout_keep_alive=settings.idle_seconds,
            **socket_options(settings.keep_alive_seconds, settings.slow_reader_seconds),
        )
    )
    # Their readers come back elsewhere; the server would wait for streams that have no end.
    stack.callback(edge.event_streams.drain)
    # It is left first, so readiness fails before the API stops taking requests.
    side_port = await stack.enter_async_context(
        serving_side_http(
            settings.http_address, service=SERVICE, checks=edge.readiness, registry=registry
        )
    )
    log.info("gateway.listening", api_port=api_port, side_port=side_port)
    return Ports(api_port, side_port)


def _forgetting(access: AccessChecks) -> Callable[[Denial], None]:
    """Return what to do at a denial: forget what its user was allowed before."""

    def forget(denial: Denial) -> None:
        if denial.kind in ("membership", "user"):
            access.forget(denial.subject.partition(":")[0])

    return forget


def _health_of(channel: grpc.aio.Channel) -> Callable[[], Awaitable[None]]:
    """Return a check that asks the service behind a channel whether it serves."""
    stub = health_pb2_grpc.HealthStub(channel)

    async def check() -> None:
        with rpc_errors():
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=1.0)
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise Unavailable("service")

    return check
