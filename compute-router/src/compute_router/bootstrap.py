"""Composition root: the only module that knows every concrete class."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import grpc
import structlog
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from weir.router.v1 import (
    execution_service_pb2_grpc,
    router_service_pb2_grpc,
    worker_registry_service_pb2_grpc,
)

from compute_router.adapters.cost_prices_client import CostPricesClient
from compute_router.adapters.local_target import LocalTarget, Patience
from compute_router.adapters.openai_http import OpenAiHttp, ProviderPatience
from compute_router.adapters.openai_models import OpenAiModels
from compute_router.adapters.openai_target import OpenAiTarget, ProviderOffer
from compute_router.adapters.prometheus_measurements import PrometheusMeasurements
from compute_router.adapters.redis_breaker import RedisBreaker
from compute_router.adapters.redis_workers import RedisWorkers
from compute_router.adapters.worker_channels import WorkerChannels
from compute_router.domain.breaker import BreakerRules
from compute_router.domain.complexity import ComplexityScale
from compute_router.domain.operation import Operation
from compute_router.domain.target import LOCAL, YOTTA
from compute_router.entrypoints.execution_handlers import ExecutionHandlers
from compute_router.entrypoints.router_handlers import RouterHandlers
from compute_router.entrypoints.worker_registry_handlers import WorkerRegistryHandlers
from compute_router.settings import Settings
from compute_router.usecases.decide_route import DecideRoute
from compute_router.usecases.deregister_worker import DeregisterWorker
from compute_router.usecases.execute_job import ExecuteJob
from compute_router.usecases.guarded_target import GuardedTarget
from compute_router.usecases.ports import Target, WorkerStore
from compute_router.usecases.price_cache import PriceCache
from compute_router.usecases.read_registry import ReadRegistry
from compute_router.usecases.register_worker import RegisterWorker
from compute_router.usecases.worker_fleet import WorkerFleet
from service_kit.clock import SystemClock
from service_kit.grpc_client import open_channel
from service_kit.grpc_server import serving
from service_kit.http_server import ReadinessChecks, serving_side_http
from service_kit.loop import PeriodicLoop, running
from service_kit.metrics import new_registry
from service_kit.redis_client import open_redis

log = structlog.get_logger(__name__)

SERVICE = "compute-router"
ALLOWED_CALLERS = {
    "weir.router.v1.RouterService": ("gateway", "job-service"),
    "weir.router.v1.ExecutionService": ("job-service",),
    "weir.router.v1.WorkerRegistryService": ("gpu-worker",),
}
# The book is fetched when it is old; until there is one, it is asked for this often.
_PRICE_LOOK_SECONDS = 1.0
# A provider's list of models, and how another router found its breaker.
_MODELS_SECONDS = 30.0
_BREAKER_READ_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the service listens."""

    grpc: int
    http: int


@asynccontextmanager
async def compute_router(settings: Settings) -> AsyncIterator[Ports]:
    """Open everything the service needs; close it in the opposite order."""
    async with AsyncExitStack() as stack:
        registry = new_registry(SERVICE)
        checks, listening = ReadinessChecks(), asyncio.Event()

        async def is_listening() -> bool:
            return listening.is_set()

        # Neither Redis nor cost-service is checked: without them this router serves the
        # workers it knows, at an estimate of 0. `router_registry_away` tells of Redis.
        checks.add("grpc", is_listening)
        http_port = await stack.enter_async_context(
            serving_side_http(
                settings.http_address, service=SERVICE, checks=checks, registry=registry
            )
        )
        redis = open_redis(settings.redis_url)
        stack.push_async_callback(redis.aclose)
        fleet, store = WorkerFleet(SystemClock()), RedisWorkers(redis)
        await ReadRegistry(fleet, store)()
        channels = WorkerChannels(settings.tls, registry)
        stack.push_async_callback(channels.close)
        local = LocalTarget(
            fleet, channels, paid=settings.local_target_paid, patience=_patience(settings)
        )
        measurements = PrometheusMeasurements(registry, fleet, [LOCAL, YOTTA])
        loops = [
            PeriodicLoop("registry", settings.registry_read_seconds, ReadRegistry(fleet, store))
        ]
        prices = await _open_prices(stack, settings, registry)
        if prices is not None:
            loops.append(PeriodicLoop("prices", _PRICE_LOOK_SECONDS, prices.refresh))
        targets: list[Target] = [local]
        if settings.yotta_url is not None:
            yotta, yotta_loops = _open_yotta(
                stack, settings, settings.yotta_url, redis, measurements
            )
            targets.append(yotta)
            loops += yotta_loops
        decide_route = DecideRoute(
            targets=targets,
            scale=ComplexityScale(settings.complexity_threshold, settings.complexity_keywords),
            prices=lambda: None if prices is None else prices.current,
        )
        execute_job = ExecuteJob(decide_route, measurements, settings.go_timeout_seconds)
        await stack.enter_async_context(running(*loops))
        grpc_port = await stack.enter_async_context(
            serving(
                settings.grpc_address,
                service=SERVICE,
                register=_Services(settings, decide_route, execute_job, fleet, store),
                allowed_callers=ALLOWED_CALLERS,
                tls=settings.tls,
                drain_seconds=settings.drain_seconds,
                registry=registry,
            )
        )
        listening.set()
        await checks.run_all()
        log.info("service.listening", grpc_port=grpc_port, http_port=http_port)
        yield Ports(grpc_port, http_port)


@dataclass(frozen=True, slots=True)
class _Services:
    """Adds the servicers to a server."""

    settings: Settings
    decide_route: DecideRoute
    execute_job: ExecuteJob
    fleet: WorkerFleet
    store: WorkerStore

    def __call__(self, server: grpc.aio.Server) -> None:
        lease = timedelta(seconds=self.settings.worker_lease_seconds)
        router_service_pb2_grpc.add_RouterServiceServicer_to_server(
            RouterHandlers(self.decide_route), server
        )
        execution_service_pb2_grpc.add_ExecutionServiceServicer_to_server(
            ExecutionHandlers(self.execute_job), server
        )
        worker_registry_service_pb2_grpc.add_WorkerRegistryServiceServicer_to_server(
            WorkerRegistryHandlers(
                RegisterWorker(self.fleet, self.store, lease),
                DeregisterWorker(self.fleet, self.store),
            ),
            server,
        )


def _patience(settings: Settings) -> Patience:
    return Patience(
        connect_seconds=settings.worker_connect_seconds,
        silence_seconds=settings.worker_silence_seconds,
        aside_seconds=settings.worker_aside_seconds,
        workers_tried=settings.workers_tried,
    )


def _open_yotta(
    stack: AsyncExitStack,
    settings: Settings,
    url: str,
    redis: Redis,
    measurements: PrometheusMeasurements,
) -> tuple[Target, list[PeriodicLoop]]:
    """Return the target, and what keeps it up to date."""
    patience = ProviderPatience(
        settings.yotta_connect_seconds,
        settings.yotta_first_byte_seconds,
        settings.yotta_idle_seconds,
        settings.yotta_total_seconds,
    )
    # One connection more than prompts: for its list of models.
    http = OpenAiHttp(url, settings.yotta_api_key, patience, settings.yotta_slots + 1)
    stack.push_async_callback(http.close)
    models = OpenAiModels(YOTTA, http, settings.yotta_models)
    offer = ProviderOffer(
        YOTTA,
        context_tokens=settings.yotta_context_tokens,
        default_max_tokens=settings.yotta_default_max_tokens,
        operations=tuple(Operation(name) for name in settings.yotta_operations),
        slots=settings.yotta_slots,
    )
    rules = BreakerRules(
        settings.breaker_failures,
        settings.breaker_window_seconds,
        settings.breaker_open_seconds,
        probe_seconds=patience.seconds_to_first_byte + patience.idle_seconds,
    )
    breaker = RedisBreaker(redis, YOTTA, rules, SystemClock())
    measurements.show_breaker(YOTTA, breaker)
    loops = [PeriodicLoop("breaker", _BREAKER_READ_SECONDS, breaker.read)]
    if not settings.yotta_models:
        loops.append(PeriodicLoop("models", _MODELS_SECONDS, models.refresh))
    return GuardedTarget(OpenAiTarget(offer, http, models, SystemClock()), breaker), loops


async def _open_prices(
    stack: AsyncExitStack, settings: Settings, registry: CollectorRegistry
) -> PriceCache | None:
    if settings.cost_service_addresses is None:
        return None
    channel = await stack.enter_async_context(
        open_channel(
            settings.cost_service_addresses,
            service="cost-service",
            tls=settings.tls,
            registry=registry,
        )
    )
    return PriceCache(CostPricesClient(channel), SystemClock(), settings.price_refresh_seconds)
