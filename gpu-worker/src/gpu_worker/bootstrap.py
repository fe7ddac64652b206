"""Composition root: the only module that knows every concrete class."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
from prometheus_client import Gauge
from weir.worker.v1 import inference_service_pb2_grpc as pb_grpc

from gpu_worker.adapters.instant_engine import InstantEngine
from gpu_worker.adapters.llama_engine import LlamaEngine
from gpu_worker.adapters.llama_server import LlamaOptions
from gpu_worker.adapters.model_file import bundled_model, digest_of, name_of
from gpu_worker.adapters.nvml_device import find_gpu_name
from gpu_worker.adapters.prometheus_measurements import PrometheusMeasurements
from gpu_worker.adapters.router_registry_client import RouterRegistryClient
from gpu_worker.domain.model import ServedModel, TemplateOverhead
from gpu_worker.domain.prompt import Operation
from gpu_worker.entrypoints.inference_handlers import InferenceHandlers
from gpu_worker.entrypoints.registration_loop import RegistrationLoop, keeping_registered
from gpu_worker.settings import Settings
from gpu_worker.usecases.announce_worker import AnnounceWorker
from gpu_worker.usecases.count_tokens import CountTokens
from gpu_worker.usecases.generate import Generate
from gpu_worker.usecases.leave_service import LeaveService
from gpu_worker.usecases.ports import Engine
from gpu_worker.usecases.slots import Slots
from service_kit.clock import SystemClock
from service_kit.grpc_client import open_channel
from service_kit.grpc_server import serving
from service_kit.http_server import ReadinessChecks, serving_side_http
from service_kit.metrics import new_registry
from service_kit.signatures import SigningKey, SigningKeyUnusable

log = structlog.get_logger(__name__)

SERVICE = "gpu-worker"
ALLOWED_CALLERS = {"weir.worker.v1.InferenceService": ("compute-router",)}
# By the time the server stops, running prompts have had all of DRAIN_SECONDS.
_LAST_WORDS_SECONDS = 0.5


class ResultKeyUnusable(Exception):
    """This worker can't sign its results; the message names the variable and the file."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the service listens."""

    grpc: int
    http: int


@dataclass(frozen=True, slots=True)
class LoadedEngine:
    """An engine that is ready to answer, and what it serves on which device."""

    engine: Engine
    model: ServedModel
    device: str


@asynccontextmanager
async def gpu_worker(settings: Settings) -> AsyncIterator[Ports]:
    """Open everything the service needs; close it in the opposite order."""
    signing_key = _signing_key(settings.result_signing_key_file)
    async with AsyncExitStack() as stack:
        registry = new_registry(SERVICE)
        checks = ReadinessChecks()
        slots = Slots(settings.engine_slots)
        loaded = asyncio.Event()

        async def engine_is_loaded() -> bool:
            return loaded.is_set() and not slots.draining

        # A router that is away does not make a worker unready: it would stay so, and what
        # it runs is not worse for it. The gauge below tells of it.
        checks.add("engine", engine_is_loaded)
        http_port = await stack.enter_async_context(
            serving_side_http(
                settings.http_address, service=SERVICE, checks=checks, registry=registry
            )
        )
        served = await stack.enter_async_context(open_engine(settings))
        loaded.set()
        await checks.run_all()
        generate = Generate(
            engine=served.engine,
            slots=slots,
            clock=SystemClock(),
            measurements=PrometheusMeasurements(registry, slots),
            worker_id=settings.worker_id,
            model=served.model,
            signing_key=signing_key,
        )
        handlers = InferenceHandlers(generate, CountTokens(served.engine))
        port = await stack.enter_async_context(
            serving(
                settings.grpc_address,
                service=SERVICE,
                register=lambda server: pb_grpc.add_InferenceServiceServicer_to_server(
                    handlers, server
                ),
                allowed_callers=ALLOWED_CALLERS,
                tls=settings.tls,
                drain_seconds=_LAST_WORDS_SECONDS,
                registry=registry,
            )
        )
        router = await stack.enter_async_context(
            open_channel(
                settings.compute_router_addresses,
                service="compute-router",
                tls=settings.tls,
                registry=registry,
            )
        )
        announce = AnnounceWorker(
            registry=RouterRegistryClient(router),
            generate=generate,
            address=settings.worker_advertise_address or _with_port(settings.grpc_address, port),
            device=served.device,
        )
        stack.push_async_callback(LeaveService(announce, settings.drain_seconds))
        known = Gauge("worker_registered", "1 while the router knows us.", registry=registry)
        await stack.enter_async_context(
            keeping_registered(RegistrationLoop(announce, lambda ok: known.set(int(ok))))
        )
        log.info(
            "service.listening",
            grpc_port=port,
            http_port=http_port,
            advertised=announce.address,
            result_key_id=signing_key.key_id,
        )
        yield Ports(port, http_port)


@asynccontextmanager
async def open_engine(settings: Settings) -> AsyncIterator[LoadedEngine]:
    """Open the engine that the settings ask for.

    Raises:
        ModelFileMissing: There is no model to serve.
        EngineUnusable: The engine can't run here, or can't load the model.
    """
    if settings.engine == "instant":
        yield _instant_engine(settings)
        return
    path = settings.model_path or bundled_model()
    name = settings.model_name or name_of(path)
    options = LlamaOptions(
        path=path,
        name=name,
        slots=settings.engine_slots,
        context_tokens=settings.context_tokens,
        threads=settings.threads,
        batch_tokens=settings.engine_batch_tokens,
    )
    digest = asyncio.create_task(asyncio.to_thread(digest_of, path))
    engine = await LlamaEngine.load(
        options,
        default_max_tokens=settings.default_max_tokens,
        embedding_context_tokens=settings.embedding_context_tokens,
    )
    try:
        model = ServedModel(
            name=name,
            context_tokens=engine.context_tokens,
            default_max_tokens=settings.default_max_tokens,
            overhead=await engine.overhead(),
            digest=await digest,
            operations=_operations(settings),
        )
        log.info("engine.loaded", model=name, digest=model.digest, threads=settings.threads)
        yield LoadedEngine(engine, model, (engine.uses_gpu and find_gpu_name()) or "cpu")
    finally:
        await engine.close()


def _signing_key(path: Path) -> SigningKey:
    try:
        return SigningKey.load_or_create(path)
    except SigningKeyUnusable as error:
        raise ResultKeyUnusable(f"RESULT_SIGNING_KEY_FILE: {error}") from error


def _operations(settings: Settings) -> tuple[Operation, ...]:
    return tuple(
        operation
        for operation in Operation
        if settings.embeddings or operation is not Operation.EMBEDDING
    )


def _instant_engine(settings: Settings) -> LoadedEngine:
    engine = InstantEngine(
        tokens=settings.instant_tokens,
        token_delay_seconds=settings.instant_token_delay_ms / 1000,
        context_tokens=settings.context_tokens,
        default_max_tokens=settings.default_max_tokens,
        fail_marker=settings.instant_fail_marker,
        kill_marker=settings.instant_kill_marker,
    )
    model = ServedModel(
        name=settings.model_name or "instant",
        context_tokens=settings.context_tokens,
        default_max_tokens=settings.default_max_tokens,
        overhead=TemplateOverhead(prompt_tokens=0, message_tokens=0),
        digest="",
        operations=_operations(settings),
    )
    return LoadedEngine(engine, model, "cpu")


def _with_port(address: str, port: int) -> str:
    return f"{address.rpartition(':')[0]}:{port}"
