"""A worker served over mutual TLS: with llama.cpp and the small model, or with a stand-in."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
import pytest
import pytest_asyncio
from weir.worker.v1 import inference_service_pb2 as pb
from weir.worker.v1 import inference_service_pb2_grpc as pb_grpc

from gpu_worker.adapters.embedding_process import EmbeddingOptions
from gpu_worker.adapters.llama_embedder import LlamaEmbedder
from gpu_worker.adapters.llama_engine import LlamaEngine
from gpu_worker.adapters.llama_server import LlamaOptions, LlamaServer
from gpu_worker.adapters.model_file import bundled_model
from gpu_worker.adapters.prometheus_measurements import PrometheusMeasurements
from gpu_worker.bootstrap import ALLOWED_CALLERS
from gpu_worker.domain.model import ServedModel, TemplateOverhead
from gpu_worker.domain.prompt import Operation
from gpu_worker.entrypoints.inference_handlers import InferenceHandlers
from gpu_worker.usecases.count_tokens import CountTokens
from gpu_worker.usecases.generate import Generate
from gpu_worker.usecases.ports import Engine
from gpu_worker.usecases.slots import Slots
from service_kit.clock import SystemClock
from service_kit.grpc_errors import rpc_errors
from service_kit.metrics import new_registry
from service_kit.signatures import SigningKey, is_signed
from service_kit.testing.pki import make_test_pki
from service_kit.testing.rpc import Loopback, serving_loopback
from service_kit.tls import TlsFiles

os.environ.setdefault("GOMP_SPINCOUNT", "0")

MODEL = "smollm2"
SLOTS = 2
CONTEXT_TOKENS = 256


@pytest.fixture(scope="session")
def pki(tmp_path_factory) -> dict[str, TlsFiles]:
    names = ["gateway", "job-service", "compute-router", "gpu-worker"]
    return make_test_pki(tmp_path_factory.mktemp("pki"), names)


@pytest.fixture(scope="session")
def llama_server() -> Iterator[LlamaServer]:
    """llama.cpp with SmolLM2, loaded once."""
    server = LlamaServer(
        LlamaOptions(
            path=bundled_model(), name=MODEL, slots=SLOTS, context_tokens=CONTEXT_TOKENS, threads=1
        )
    )
    yield server
    server.close()


@pytest.fixture
def llama_engine(llama_server) -> LlamaEngine:
    """An engine that needs no embeddings: their process starts with the first one."""
    return an_engine(llama_server, LlamaEmbedder(embedding_options()))


def embedding_options() -> EmbeddingOptions:
    return EmbeddingOptions(str(bundled_model()), threads=1, context_tokens=CONTEXT_TOKENS)


def an_engine(server: LlamaServer, embedder: LlamaEmbedder) -> LlamaEngine:
    return LlamaEngine(server, embedder, slots=SLOTS, default_max_tokens=16)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def embedder() -> AsyncIterator[LlamaEmbedder]:
    """llama.cpp's other process, started once for all tests of a module."""
    embedder = LlamaEmbedder(embedding_options())
    yield embedder
    await embedder.close()


@dataclass(frozen=True)
class Served:
    """A worker that serves an engine."""

    loopback: Loopback
    slots: Slots
    stub: pb_grpc.InferenceServiceStub

    def generate(self, text: str = "Say hello.", **values) -> grpc.aio.UnaryStreamCall:
        """Call Generate with one user message, with `messages` as (role, content), or `inputs`."""
        inputs = values.pop("inputs", [])
        messages = values.pop("messages", [] if inputs else [("user", text)])
        model = values.pop("model", MODEL)
        operation = values.pop("operation", pb.OPERATION_UNSPECIFIED)
        return self.stub.Generate(
            pb.GenerateRequest(
                job_id="j1",
                attempt=1,
                model=model,
                operation=operation,
                inputs=inputs,
                messages=[pb.ChatMessage(role=role, content=content) for role, content in messages],
                sampling=pb.SamplingParameters(**{"max_tokens": 8, "temperature": 0, **values}),
            ),
            timeout=60,
        )

    async def answer(self, *args, **values) -> Answer:
        call = self.generate(*args, **values)
        events = []
        with rpc_errors():
            async for response in call:
                events.append(response)
        return Answer(events)


@dataclass(frozen=True)
class Answer:
    """All that one call gave."""

    events: list[pb.GenerateResponse]

    @property
    def deltas(self) -> list[pb.GenerateResponse.Delta]:
        return [event.delta for event in self.events if event.WhichOneof("event") == "delta"]

    @property
    def vectors(self) -> list[list[float]]:
        """The vectors, which came in the order of their inputs."""
        found = [each.embedding for each in self.events if each.WhichOneof("event") == "embedding"]
        assert [each.index for each in found] == [*range(len(found))]
        return [[*each.values] for each in found]

    @property
    def statement(self) -> dict[str, object]:
        """What the worker signed."""
        signed = self.finished.signed_result
        assert is_signed(signed.statement, signed.signature, signed.public_key)
        return json.loads(signed.statement)

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas)

    @property
    def tokens(self) -> int:
        return sum(delta.tokens for delta in self.deltas)

    @property
    def finished(self) -> pb.GenerateResponse.Finished:
        return self.events[-1].finished


@pytest.fixture
def serve(pki):
    """A callable: engine -> a worker that serves it while the block is open."""

    @asynccontextmanager
    async def serving(engine: Engine, slots: int = SLOTS) -> AsyncIterator[Served]:
        registry = new_registry("gpu-worker")
        places = Slots(slots)
        overhead = TemplateOverhead(0, 0)
        model = ServedModel(MODEL, CONTEXT_TOKENS, 16, overhead, "d1", tuple(Operation))
        generate = Generate(
            engine,
            places,
            SystemClock(),
            PrometheusMeasurements(registry, places),
            worker_id="w1",
            model=model,
            signing_key=SigningKey.generate(),
        )
        handlers = InferenceHandlers(generate, CountTokens(engine))
        async with (
            serving_loopback(
                pki,
                "gpu-worker",
                lambda server: pb_grpc.add_InferenceServiceServicer_to_server(handlers, server),
                ALLOWED_CALLERS,
                registry=registry,
            ) as loopback,
            loopback.channel_as("compute-router") as channel,
        ):
            yield Served(loopback, places, pb_grpc.InferenceServiceStub(channel))

    return serving


@pytest.fixture
async def worker(serve, llama_engine) -> AsyncIterator[Served]:
    """A worker with the real engine."""
    async with serve(llama_engine) as served:
        yield served


@pytest.fixture
def eventually():
    """A callable that waits until a condition holds, with a deadline."""

    async def wait(condition, seconds: float = 10) -> None:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 -- a condition with a deadline
                await asyncio.sleep(0.01)

    return wait
