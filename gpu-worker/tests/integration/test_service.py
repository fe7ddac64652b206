"""The whole worker: callers, readiness, registration, draining, as a process and in here."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager

import grpc
import httpx
import pytest
from weir.router.v1 import worker_registry_service_pb2 as registry_pb
from weir.router.v1 import worker_registry_service_pb2_grpc as registry_pb_grpc
from weir.worker.v1 import inference_service_pb2 as pb
from weir.worker.v1 import inference_service_pb2_grpc as pb_grpc

from gpu_worker.adapters.instant_engine import InstantEngine
from gpu_worker.bootstrap import ResultKeyUnusable, gpu_worker
from gpu_worker.domain.errors import EngineFailed
from gpu_worker.settings import Settings
from service_kit.errors import ErrorCode, ServiceError
from service_kit.grpc_client import open_channel
from service_kit.grpc_errors import rpc_errors
from service_kit.metrics import new_registry
from service_kit.signatures import SigningKey
from service_kit.testing.pki import make_test_pki
from service_kit.testing.rpc import serving_loopback


def an_engine(**changes) -> InstantEngine:
    values = {
        "tokens": 4,
        "token_delay_seconds": 0.0,
        "context_tokens": 100,
        "default_max_tokens": 50,
    }
    return InstantEngine(**{**values, **changes})


class Router(registry_pb_grpc.WorkerRegistryServiceServicer):
    """A router that writes down what workers tell it."""

    def __init__(self) -> None:
        self.told: list[registry_pb.Worker] = []
        self.left: list[str] = []

    async def RegisterWorker(self, request, context):
        self.told.append(request.worker)
        return registry_pb.RegisterWorkerResponse(lease_seconds=1)

    async def DeregisterWorker(self, request, context):
        self.left.append(request.worker_id)
        return registry_pb.DeregisterWorkerResponse()


@pytest.fixture
def run_router(pki):
    """A callable that serves a router, at an address if one is given."""

    @asynccontextmanager
    async def run(router: Router):
        async with serving_loopback(
            pki,
            "compute-router",
            lambda server: registry_pb_grpc.add_WorkerRegistryServiceServicer_to_server(
                router, server
            ),
            {"weir.router.v1.WorkerRegistryService": ["gpu-worker"]},
        ) as loopback:
            yield loopback.address

    return run


@pytest.fixture
def settings(pki, tmp_path):
    """A callable: changes -> the settings of an instant worker."""

    def make(**changes) -> Settings:
        files = pki["gpu-worker"]
        values = {
            "environment": "test",
            "engine": "instant",
            "worker_id": "w1",
            "compute_router_addresses": "127.0.0.1:9",
            "tls_ca_file": files.ca_file,
            "tls_cert_file": files.cert_file,
            "tls_key_file": files.key_file,
            "result_signing_key_file": tmp_path / "result.pem",
        }
        return Settings(**{**values, **changes})

    return make


@pytest.fixture
def environment(pki, tmp_path) -> dict[str, str]:
    """What a worker's process has to be given."""
    files = pki["gpu-worker"]
    return {
        "PATH": os.environ["PATH"],
        "WORKER_ID": "w1",
        "COMPUTE_ROUTER_ADDRESSES": "127.0.0.1:9",
        "TLS_CA_FILE": str(files.ca_file),
        "TLS_CERT_FILE": str(files.cert_file),
        "TLS_KEY_FILE": str(files.key_file),
        "RESULT_SIGNING_KEY_FILE": str(tmp_path / "result.pem"),
    }


def channel_to(pki, port, caller="compute-router"):
    return open_channel(
        f"127.0.0.1:{port}", service="gpu-worker", tls=pki[caller], registry=new_registry(caller)
    )


def request(**changes) -> pb.GenerateRequest:
    values = {"model": "instant", "messages": [pb.ChatMessage(role="user", content="a b")]}
    return pb.GenerateRequest(job_id="j1", attempt=1, **{**values, **changes})


async def get(port: int, path: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(f"http://127.0.0.1:{port}{path}")


async def test_only_the_router_may_call(serve):
    """Other services' certificates are known and refused, for every method."""
    async with serve(an_engine()) as served:
        for caller in ("gateway", "job-service", "gpu-worker"):
            async with served.loopback.channel_as(caller) as channel:
                stub = pb_grpc.InferenceServiceStub(channel)
                with pytest.raises(ServiceError) as caught, rpc_errors():
                    await stub.Generate(request()).read()
                assert caught.value.reason == "CALLER_NOT_ALLOWED"
                with pytest.raises(ServiceError) as caught, rpc_errors():
                    await stub.CountTokens(pb.CountTokensRequest(text="a"))
                assert caught.value.code is ErrorCode.PERMISSION_DENIED


async def test_foreign_authority_is_refused(serve, tmp_path):
    """A certificate that somebody else signed ends in the handshake."""
    foreign = make_test_pki(tmp_path, ["compute-router"])
    async with (
        serve(an_engine()) as served,
        channel_to(foreign, served.loopback.port) as channel,
    ):
        stub = pb_grpc.InferenceServiceStub(channel)
        with pytest.raises(ServiceError) as caught, rpc_errors():
            await stub.CountTokens(pb.CountTokensRequest(text="a"))
    assert caught.value.code is ErrorCode.UNAVAILABLE


async def test_engine_that_breaks_off_frees_its_slot(serve):
    """The caller learns that it failed, not why; the slot is free again."""
    async with serve(an_engine(fail_marker="BOOM")) as served:
        with pytest.raises(ServiceError) as caught:
            await served.answer("BOOM")
        assert caught.value.reason == EngineFailed.reason
        assert served.slots.busy == 0


async def test_worker_without_router_serves(pki, settings):
    """A router that is away makes nothing unready: the worker answers whoever calls."""
    async with gpu_worker(settings()) as ports, channel_to(pki, ports.grpc) as channel:
        stub = pb_grpc.InferenceServiceStub(channel)
        events = [response async for response in stub.Generate(request())]
        ready = await get(ports.http, "/health/ready")
        metrics = (await get(ports.http, "/metrics")).text

    assert events[-1].finished.usage.tokens_output == 16
    assert ready.status_code == 200
    assert "worker_registered 0.0" in metrics
    assert 'worker_prompts_total{operation="chat",outcome="stop"} 1.0' in metrics
    assert 'worker_tokens_total{direction="output"} 16.0' in metrics


async def test_worker_announces_itself_and_leaves(run_router, settings, eventually):
    """It tells all that routers need, renews at a third of the lease, and says goodbye."""
    router = Router()
    async with run_router(router) as address:
        async with gpu_worker(
            settings(compute_router_addresses=address, engine_slots=3, context_tokens=512)
        ) as ports:
            await eventually(lambda: len(router.told) >= 3, seconds=2)
        told = router.told[0]

    assert told.worker_id == "w1"
    assert told.address == f"127.0.0.1:{ports.grpc}"
    assert (told.slots_total, told.slots_busy, told.device) == (3, 0, "cpu")
    assert not told.draining
    (model,) = told.models
    assert (model.model, model.context_tokens, model.default_max_tokens) == ("instant", 512, 256)
    assert [*model.operations] == [value for value in pb.Operation.values() if value]
    assert router.left == ["w1"]


async def test_embeddings_can_be_turned_off(pki, run_router, settings, eventually):
    """Then they are refused, and not announced."""
    router = Router()
    async with (
        run_router(router) as address,
        gpu_worker(settings(compute_router_addresses=address, embeddings=False)) as ports,
        channel_to(pki, ports.grpc) as channel,
    ):
        asked = request(operation=pb.OPERATION_EMBEDDING, inputs=["a"], messages=[])
        with pytest.raises(ServiceError) as caught, rpc_errors():
            await pb_grpc.InferenceServiceStub(channel).Generate(asked).read()
        await eventually(lambda: router.told)

    assert caught.value.code is ErrorCode.INVALID_ARGUMENT
    assert caught.value.reason == "OPERATION_NOT_SERVED"
    (model,) = router.told[0].models
    assert pb.OPERATION_EMBEDDING not in model.operations
    assert pb.OPERATION_COMPLETION in model.operations


async def test_key_that_can_not_be_read(settings, tmp_path):
    """The worker does not start, and names the variable and the file."""
    with pytest.raises(ResultKeyUnusable) as caught:
        async with gpu_worker(settings(result_signing_key_file=tmp_path)):
            pass

    assert str(caught.value).startswith("RESULT_SIGNING_KEY_FILE: ")
    assert str(tmp_path) in str(caught.value)


async def test_key_is_made_once(pki, settings, tmp_path):
    """Only its owner may read it, and a worker that comes back signs with the same one."""
    key_ids = []
    for _ in range(2):
        async with gpu_worker(settings()) as ports, channel_to(pki, ports.grpc) as channel:
            call = pb_grpc.InferenceServiceStub(channel).Generate(request())
            *_, last = [response async for response in call]
            key_ids.append(last.finished.signed_result.key_id)

    assert key_ids == [SigningKey.load(tmp_path / "result.pem").key_id] * 2
    assert (tmp_path / "result.pem").stat().st_mode & 0o777 == 0o600


async def test_leaving_worker_finishes_what_runs(pki, run_router, settings, eventually):
    """New prompts are refused, the one that runs gets to its end, then the worker is gone."""
    router, stop, listening = Router(), asyncio.Event(), asyncio.Queue()

    async def serve_until_stopped(address) -> None:
        slow = {"instant_tokens": 20, "instant_token_delay_ms": 30, "drain_seconds": 5}
        async with gpu_worker(settings(compute_router_addresses=address, **slow)) as ports:
            await listening.put(ports.grpc)
            await stop.wait()

    async with run_router(router) as address, asyncio.TaskGroup() as tasks:
        tasks.create_task(serve_until_stopped(address))
        async with channel_to(pki, await listening.get()) as channel:
            stub = pb_grpc.InferenceServiceStub(channel)
            running = stub.Generate(request(), timeout=10)
            assert (await running.read()).WhichOneof("event") == "started"

            stop.set()
            await eventually(lambda: router.left == ["w1"])
            with pytest.raises(ServiceError) as caught, rpc_errors():
                await stub.Generate(request(), timeout=10).read()
            tokens = 0
            while (response := await running.read()) is not grpc.aio.EOF:
                tokens += response.delta.tokens
                last = response

    assert caught.value.reason == "WORKER_DRAINING"
    assert last.finished.usage.tokens_output == tokens == 20


async def test_process_starts_with_the_real_model_and_stops_on_sigterm(environment):
    """`python -m gpu_worker` finds the bundled model, serves, and ends with 0."""
    small = {"ENGINE_SLOTS": "1", "ENGINE_THREADS": "1", "CONTEXT_TOKENS": "512"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gpu_worker",
        env=environment | small,
        cwd=tempfile.gettempdir(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    log = b""
    async with asyncio.timeout(60):
        while b"service.started" not in log:
            line = await process.stdout.readline()
            assert line, log
            log += line
        process.send_signal(signal.SIGTERM)
        rest, _ = await process.communicate()

    assert process.returncode == 0, log + rest
    assert b"smollm2-135m-instruct" in log


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ENGINE": "instant"}, "ENGINE"),
        ({"WORKER_ID": "a/b"}, "WORKER_ID"),
        ({"MODEL_PATH": "absent.gguf"}, "MODEL_PATH"),
    ],
)
def test_bad_setting_is_named(environment, changes, said):
    """The process ends at once and names the variable."""
    done = subprocess.run(
        [sys.executable, "-m", "gpu_worker"],
        env=environment | changes,
        cwd=tempfile.gettempdir(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode != 0
    assert said in done.stdout + done.stderr


def test_migrate_has_nothing_to_do():
    """`migrate` is there for tools that run it on every service."""
    done = subprocess.run(
        [sys.executable, "-m", "gpu_worker", "migrate"],
        env={"PATH": os.environ["PATH"]},
        cwd=tempfile.gettempdir(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0
    assert "nothing to migrate" in done.stdout
