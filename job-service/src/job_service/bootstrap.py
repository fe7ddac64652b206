"""Opens everything in order, and closes it in the opposite order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import grpc
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine
from weir.job.v1 import dead_letter_service_pb2_grpc as dead_letter_grpc
from weir.job.v1 import job_service_pb2_grpc as pb_grpc

from job_service.adapters.auth_client import AuthClient
from job_service.adapters.background_tasks import BackgroundTasks
from job_service.adapters.cost_client import KeptPrices, LedgerClient
from job_service.adapters.postgres_lifecycle import PostgresLifecycle
from job_service.adapters.prometheus_metrics import PrometheusJobMetrics
from job_service.adapters.redis_deltas import RedisChanges, RedisDeltas
from job_service.adapters.redis_hints import LISTEN_SECONDS, RedisHints
from job_service.adapters.router_client import KeptTargets, RouterExecutor
from job_service.adapters.unit_of_work import PostgresUnitOfWork
from job_service.domain.retry_policy import RetryPolicy
from job_service.entrypoints.dead_letter_handlers import DeadLetterHandlers, DeadLetterUseCases
from job_service.entrypoints.job_handlers import JobHandlers, JobUseCases
from job_service.settings import Settings
from job_service.usecases.admit_job import AdmitJob
from job_service.usecases.cancel_job import CancelJob
from job_service.usecases.check_queue_room import CheckQueueRoom
from job_service.usecases.create_job import CreateJob
from job_service.usecases.dispatch_jobs import DispatchJobs, Places
from job_service.usecases.execute_attempt import ExecuteAttempt
from job_service.usecases.expire_blocked import ExpireBlocked
from job_service.usecases.get_dead_letter import GetDeadLetter, ListDeadLetters
from job_service.usecases.get_job import GetJob, ListJobs
from job_service.usecases.get_receipt import GetReceipt, ListReceiptKeys
from job_service.usecases.job_feeds import JobFeeds
from job_service.usecases.keep_signing_key import KeepSigningKey
from job_service.usecases.live_attempts import LiveAttempts
from job_service.usecases.measure_depths import MeasureDepths
from job_service.usecases.publish_deltas import DeltaPublisher
from job_service.usecases.purge_dead_letter import PurgeDeadLetter
from job_service.usecases.readmit_job import ReadmitJob
from job_service.usecases.reap_jobs import ReapJobs
from job_service.usecases.reconcile_holds import ReconcileHolds
from job_service.usecases.redrive_dead_letters import RedriveDeadLetters
from job_service.usecases.relay_settlements import RelaySettlements
from job_service.usecases.retry_job import RetryJob
from job_service.usecases.run_job import RunJob
from job_service.usecases.store_change import StoreChange
from job_service.usecases.submit_job import SubmitJob
from job_service.usecases.unblock_jobs import UnblockJobs
from job_service.usecases.watch_job import WatchJob
from service_kit import grpc_server, metrics
from service_kit.access import AccessChecks
from service_kit.clock import SystemClock
from service_kit.database import autocommit_sessions, check_database, open_engine, sessions
from service_kit.grpc_client import open_channel
from service_kit.http_server import ReadinessChecks, serving_side_http
from service_kit.loop import PeriodicLoop, running
from service_kit.redis_client import open_redis
from service_kit.signatures import SigningKey
from service_kit.tokens import Denial, TokenVerifier

NAME: Final = "job-service"
RPC_SERVICE: Final = "weir.job.v1.JobService"
DEAD_LETTER_SERVICE: Final = "weir.job.v1.DeadLetterService"
AUDIENCES: Final = ("weir", "weir-internal")
DENIALS_SECONDS: Final = 2.0
DEPTHS_SECONDS: Final = 5.0
EXPIRE_SECONDS: Final = 60.0
PUBLISH_SECONDS: Final = 60.0
# The most that an attempt may wait for Redis, once a second at that.
DELTAS_SECONDS: Final = 0.2
# Part of the drain that running attempts get before they are told to stop; what is left is for
# storing their end and telling their callers.
DRAIN_SHARE: Final = 0.8


@asynccontextmanager
async def job_service(settings: Settings) -> AsyncIterator[int]:
    """Run the service until the block is left; give the port where gRPC listens."""
    async with AsyncExitStack() as stack:
        registry = metrics.new_registry(NAME)
        live = LiveAttempts()
        connections = await _connect(settings, registry, live, stack)
        publisher = DeltaPublisher(connections.deltas, SystemClock())
        # Before the attempts, so that it is there until the last of them has ended.
        await stack.enter_async_context(running(_publishing(publisher, registry)))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        background = BackgroundTasks(tasks)
        parts = _assemble(settings, connections, registry, background, publisher, live)
        # Else the first receipt brings it along.
        background.start(parts.keep_signing_key(), request_id="")
        await stack.enter_async_context(running(*_loops(settings, parts, registry)))
        checks = ReadinessChecks()
        checks.add("database", lambda: check_database(connections.engine))
        checks.add("tokens", parts.verifier.check_ready)
        await stack.enter_async_context(
            serving_side_http(settings.http_address, service=NAME, checks=checks, registry=registry)
        )
        port = await stack.enter_async_context(_serving(settings, parts, registry))
        try:
            yield port
        finally:
            # First of all: unready, and no further job is claimed. What runs goes on while the
            # server drains beside it.
            checks.drain()
            parts.dispatch.stop_claiming()
            parts.feeds.stop()
            tasks.create_task(live.drain(settings.drain_seconds * DRAIN_SHARE))


@dataclass(frozen=True, slots=True)
class _Connections:
    engine: AsyncEngine
    auth: grpc.aio.Channel
    cost: grpc.aio.Channel
    router: grpc.aio.Channel
    hints: RedisHints
    deltas: RedisDeltas
    listener: Redis


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the server and the loops run."""

    verifier: TokenVerifier
    handlers: JobHandlers
    dead_letters: DeadLetterHandlers
    prices: KeptPrices
    targets: KeptTargets
    hints: RedisHints
    feeds: JobFeeds
    changes: RedisChanges
    dispatch: DispatchJobs
    reap: ReapJobs
    unblock: UnblockJobs
    expire_blocked: ExpireBlocked
    relay: RelaySettlements
    reconcile: ReconcileHolds
    measure: MeasureDepths
    keep_signing_key: KeepSigningKey


async def _connect(
    settings: Settings, registry: CollectorRegistry, live: LiveAttempts, stack: AsyncExitStack
) -> _Connections:
    engine = open_engine(
        settings.database_url, application_name=NAME, pool_size=settings.database_pool_size
    )
    stack.push_async_callback(engine.dispose)

    async def channel(addresses: str, service: str) -> grpc.aio.Channel:
        opened = open_channel(addresses, service=service, tls=settings.tls, registry=registry)
        return await stack.enter_async_context(opened)

    publisher = open_redis(settings.redis_url, max_connections=2)
    stack.push_async_callback(publisher.aclose)
    deltas = open_redis(
        settings.redis_url,
        max_connections=4,
        timeout_seconds=DELTAS_SECONDS,
        connect_timeout_seconds=DELTAS_SECONDS,
    )
    stack.push_async_callback(deltas.aclose)
    listener = open_redis(settings.redis_url, max_connections=2, timeout_seconds=2 * LISTEN_SECONDS)
    stack.push_async_callback(listener.aclose)
    return _Connections(
        engine=engine,
        auth=await channel(settings.auth_service_addresses, "auth-service"),
        cost=await channel(settings.cost_service_addresses, "cost-service"),
        router=await channel(settings.compute_router_addresses, "compute-router"),
        hints=RedisHints(publisher, listener, live.look_again),
        deltas=RedisDeltas(deltas),
        listener=listener,
    )


def _assemble(
    settings: Settings,
    connections: _Connections,
    registry: CollectorRegistry,
    background: BackgroundTasks,
    publisher: DeltaPublisher,
    live: LiveAttempts,
) -> _Parts:
    clock, hints = SystemClock(), connections.hints
    job_metrics = PrometheusJobMetrics(registry)
    work = PostgresUnitOfWork(
        sessions(connections.engine), settings.lease_seconds, publisher.jobs_changed
    )
    lifecycle = PostgresLifecycle(autocommit_sessions(connections.engine))
    feeds = JobFeeds(lifecycle, connections.deltas, work, job_metrics, clock, settings.poll_seconds)
    ledger = LedgerClient(connections.cost)
    prices = KeptPrices(connections.cost, clock, settings.price_keep_seconds)
    targets = KeptTargets(connections.router)
    policy = RetryPolicy(
        backoff_seconds=settings.retry_backoff_seconds,
        max_lost=settings.max_lost_leases,
        wait_seconds=settings.no_capacity_wait_seconds,
    )
    check_room = CheckQueueRoom(settings.max_queued_jobs_per_project, clock)
    submit = SubmitJob(work, prices, targets, job_metrics, check_room)
    signer = SigningKey.load(settings.receipt_signing_key_file)
    store_change = StoreChange(signer, job_metrics)
    admit = AdmitJob(work, ledger, prices, targets, hints, job_metrics, store_change)
    execute = ExecuteAttempt(
        unit_of_work=work,
        executor=RouterExecutor(connections.router, settings.execution_timeout_seconds),
        targets=targets,
        hints=hints,
        metrics=job_metrics,
        store_change=store_change,
        clock=clock,
        policy=policy,
        renew_seconds=settings.lease_renew_seconds,
        deltas=publisher,
    )
    readmit = ReadmitJob(work, prices, targets, job_metrics, store_change, check_room)
    retry = RetryJob(readmit, admit)
    verifier, access = _identity(settings, AuthClient(connections.auth))
    use_cases = JobUseCases(
        create=CreateJob(submit, admit),
        run=RunJob(submit, admit, execute, background, live, GetJob(work)),
        get=GetJob(work),
        list=ListJobs(work),
        cancel=CancelJob(work, hints, job_metrics, store_change),
        retry=retry,
        receipt=GetReceipt(work),
        receipt_keys=ListReceiptKeys(work),
        watch=WatchJob(work, lifecycle, feeds, job_metrics),
    )
    return _Parts(
        verifier=verifier,
        handlers=JobHandlers(use_cases, access, settings.max_retries),
        dead_letters=DeadLetterHandlers(
            DeadLetterUseCases(
                list=ListDeadLetters(work),
                get=GetDeadLetter(work),
                redrive=retry,
                redrive_many=RedriveDeadLetters(work, readmit, admit, background),
                purge=PurgeDeadLetter(work, job_metrics),
            ),
            access,
        ),
        prices=prices,
        targets=targets,
        hints=hints,
        feeds=feeds,
        changes=RedisChanges(connections.listener, feeds.told, feeds.changed),
        dispatch=DispatchJobs(
            work, execute, background, live, hints, Places(settings.dispatch_concurrency, clock)
        ),
        reap=ReapJobs(
            unit_of_work=work,
            admit=admit,
            background=background,
            hints=hints,
            metrics=job_metrics,
            store_change=store_change,
            clock=clock,
            policy=policy,
            lease_seconds=settings.lease_seconds,
            patience_seconds=max(
                settings.lease_seconds - settings.lease_renew_seconds, 2 * settings.poll_seconds
            ),
        ),
        unblock=UnblockJobs(work, admit),
        expire_blocked=ExpireBlocked(
            work, hints, job_metrics, store_change, settings.blocked_max_seconds
        ),
        relay=RelaySettlements(work, ledger, job_metrics, settings.lease_seconds),
        reconcile=ReconcileHolds(
            work, ledger, hints, job_metrics, clock, settings.reconcile_after_seconds
        ),
        measure=MeasureDepths(work, job_metrics),
        keep_signing_key=KeepSigningKey(work, signer),
    )


def _identity(settings: Settings, auth: AuthClient) -> tuple[TokenVerifier, AccessChecks]:
    """Return who verifies tokens and who knows permissions, which denials reach as well."""
    verifier = TokenVerifier(settings.auth_issuer, AUDIENCES, auth)
    access = AccessChecks(auth, SystemClock())

    def forget(denial: Denial) -> None:
        if denial.kind in ("user", "membership"):
            access.forget(denial.subject.partition(":")[0])

    verifier.on_denial(forget)
    return verifier, access


def _publishing(publisher: DeltaPublisher, registry: CollectorRegistry) -> PeriodicLoop:
    return PeriodicLoop(
        "publish-deltas", PUBLISH_SECONDS, publisher, wake=publisher.wake, registry=registry
    )


def _loops(settings: Settings, parts: _Parts, registry: CollectorRegistry) -> list[PeriodicLoop]:
    poll, hints = settings.poll_seconds, parts.hints
    return [
        PeriodicLoop("tokens", DENIALS_SECONDS, parts.verifier.refresh, registry=registry),
        PeriodicLoop(
            "targets", settings.target_refresh_seconds, parts.targets.refresh, registry=registry
        ),
        PeriodicLoop("prices", poll, parts.prices.refresh, registry=registry),
        PeriodicLoop("dispatch", poll, parts.dispatch, wake=hints.dispatch, registry=registry),
        PeriodicLoop("reap", poll, parts.reap, registry=registry),
        PeriodicLoop("unblock", poll, parts.unblock, registry=registry),
        PeriodicLoop(
            "expire-blocked",
            min(EXPIRE_SECONDS, settings.blocked_max_seconds / 2),
            parts.expire_blocked,
            registry=registry,
        ),
        PeriodicLoop("relay", poll, parts.relay, wake=hints.relay, registry=registry),
        PeriodicLoop(
            "reconcile", settings.reconcile_after_seconds / 2, parts.reconcile, registry=registry
        ),
        PeriodicLoop("depths", DEPTHS_SECONDS, parts.measure, registry=registry),
        PeriodicLoop(
            "publish-hints", PUBLISH_SECONDS, hints.publish, wake=hints.announce, registry=registry
        ),
        PeriodicLoop("listen-hints", poll, hints.listen, registry=registry),
        PeriodicLoop("feeds", poll, parts.feeds, wake=parts.feeds.wake, registry=registry),
        PeriodicLoop("listen-changes", poll, parts.changes.listen, registry=registry),
    ]


def _serving(
    settings: Settings, parts: _Parts, registry: CollectorRegistry
) -> AbstractAsyncContextManager[int]:
    def register(server: grpc.aio.Server) -> None:
        pb_grpc.add_JobServiceServicer_to_server(parts.handlers, server)
        dead_letter_grpc.add_DeadLetterServiceServicer_to_server(parts.dead_letters, server)

    services = (RPC_SERVICE, DEAD_LETTER_SERVICE)
    return grpc_server.serving(
        settings.grpc_address,
        service=NAME,
        register=register,
        allowed_callers={name: ["gateway"] for name in services},
        authenticate=dict.fromkeys(services, parts.verifier),
        unauthenticated_methods=[f"/{RPC_SERVICE}/ListReceiptKeys"],
        tls=settings.tls,
        drain_seconds=settings.drain_seconds,
        registry=registry,
    )
