"""A router in this process, and real workers in it or beside it, over mutual TLS."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import grpc
import httpx
import pytest
from weir.router.v1 import execution_service_pb2 as execution_pb
from weir.router.v1 import execution_service_pb2_grpc
from weir.router.v1 import router_service_pb2 as router_pb
from weir.worker.v1 import inference_service_pb2 as worker_pb

from compute_router.adapters.redis_workers import RedisWorkers
from compute_router.bootstrap import Ports, compute_router
from compute_router.domain.worker import Worker
from compute_router.settings import Settings
from gpu_worker import settings as worker
from gpu_worker.bootstrap import gpu_worker
from service_kit.grpc_client import open_channel
from service_kit.grpc_errors import rpc_errors
from service_kit.metrics import new_registry
from service_kit.redis_client import open_redis
from service_kit.testing.pki import make_test_pki
from service_kit.tls import TlsFiles

CALLERS = ["gateway", "auth-service", "job-service", "cost-service", "compute-router"]
WORKERS = ["gpu-worker/w1", "gpu-worker/w2"]
LEASE_SECONDS = 1
CHAT = worker_pb.OPERATION_CHAT


@pytest.fixture(scope="session")
def pki(tmp_path_factory) -> dict[str, TlsFiles]:
    return make_test_pki(tmp_path_factory.mktemp("pki"), [*CALLERS, *WORKERS])


async def wait_until(condition: Callable[[], object], seconds: float = 10) -> None:
    """Return once the condition (plain or async) holds; fail when the time is over."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if inspect.isawaitable(found):
                found = await found
            if found:
                return
            await asyncio.sleep(0.02)


@dataclass
class RunningWorker:
    """A worker under test, in this process or another."""

    http_port: int

    async def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels."""
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"http://127.0.0.1:{self.http_port}/metrics")).text
        found = [line for line in text.splitlines() if re.match(rf"{name}[ {{]", line)]
        return sum(float(line.rpartition(" ")[2]) for line in found)

    async def busy(self) -> int:
        """Return how many slots are taken, as the worker itself says."""
        return int(await self.metric("worker_slots_busy"))

    async def prompts(self) -> int:
        """Return how many prompts the worker ever got."""
        return int(await self.metric("worker_prompts_total")) + await self.busy()

    async def is_registered(self) -> bool:
        return await self.metric("worker_registered") == 1


class WorkerProcess(RunningWorker):
    """`python -m gpu_worker`, with its log."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.events: list[dict] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gpu_worker"],
            env=environment,
            cwd=tempfile.gettempdir(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def event(self, name: str) -> dict | None:
        return next((event for event in self.events if event["event"] == name), None)

    async def wait_for(self, name: str, seconds: float = 30) -> dict:
        """Return the first log event of that name."""
        await wait_until(lambda: self.event(name) or self.process.poll() is not None, seconds)
        found = self.event(name)
        assert found is not None, self.events
        return found

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    async def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            # Not blocking: it says goodbye to the router in this very process.
            await wait_until(lambda: self.process.poll() is not None)
        self._reader.join()
        self.process.stdout.close()


@pytest.fixture
def worker_settings(pki, router):
    """A callable: worker id, whose certificate, settings -> the environment of a worker."""

    def settings(worker_id: str, certificate: str, **changes) -> dict[str, str]:
        files = pki[f"gpu-worker/{certificate}"]
        return {
            "ENVIRONMENT": "test",
            "ENGINE": "instant",
            "WORKER_ID": worker_id,
            "COMPUTE_ROUTER_ADDRESSES": router.address,
            "TLS_CA_FILE": str(files.ca_file),
            "TLS_CERT_FILE": str(files.cert_file),
            "TLS_KEY_FILE": str(files.key_file),
            "RESULT_SIGNING_KEY_FILE": str(files.key_file.with_name("result.pem")),
            "DRAIN_SECONDS": "1",
            **{name.upper(): str(value) for name, value in changes.items()},
        }

    return settings


@pytest.fixture
async def start_worker(worker_settings) -> AsyncIterator[Callable[..., Awaitable[RunningWorker]]]:
    """A callable: worker id and settings -> a worker in this process that has registered."""
    async with AsyncExitStack() as stack:

        async def start(worker_id: str = "w1", **changes) -> RunningWorker:
            values = worker_settings(worker_id, worker_id, **changes)
            settings = worker.Settings(**{name.lower(): text for name, text in values.items()})
            ports = await stack.enter_async_context(gpu_worker(settings))
            started = RunningWorker(ports.http)
            await wait_until(started.is_registered)
            return started

        yield start


@pytest.fixture
async def start_worker_process(
    worker_settings,
) -> AsyncIterator[Callable[..., Awaitable[WorkerProcess]]]:
    """The same with a process of its own, which can be killed.

    With another worker's certificate it listens, and never gets to register.
    """
    started: list[WorkerProcess] = []

    async def start(worker_id: str = "w1", *, certificate: str = "", **changes) -> WorkerProcess:
        environment = worker_settings(worker_id, certificate or worker_id, **changes)
        process = WorkerProcess({"PATH": os.environ["PATH"], **environment})
        started.append(process)
        process.http_port = (await process.wait_for("service.listening"))["http_port"]
        if not certificate:
            await process.wait_for("worker.registered")
        return process

    yield start
    for process in started:
        await process.stop()


@dataclass
class RunningRouter:
    """A router under test."""

    ports: Ports
    pki: dict[str, TlsFiles]
    redis_url: str

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.ports.grpc}"

    def channel_as(self, caller: str) -> grpc.aio.Channel:
        return open_channel(
            self.address,
            service="compute-router",
            tls=self.pki[caller],
            registry=new_registry(caller),
        )

    async def workers(self) -> list[Worker]:
        """Return the workers in the registry."""
        redis = open_redis(self.redis_url)
        try:
            return [found.worker for found in await RedisWorkers(redis).list()]
        finally:
            await redis.aclose()

    async def metrics(self) -> str:
        async with httpx.AsyncClient() as client:
            return (await client.get(f"http://127.0.0.1:{self.ports.http}/metrics")).text


@pytest.fixture
async def open_router(pki, redis_url) -> AsyncIterator[Callable]:
    """A callable: settings -> a router. They share one Redis."""
    async with AsyncExitStack() as stack:

        async def start(**settings) -> RunningRouter:
            files = pki["compute-router"]
            values = {
                "environment": "test",
                "redis_url": redis_url,
                "tls_ca_file": files.ca_file,
                "tls_cert_file": files.cert_file,
                "tls_key_file": files.key_file,
                "worker_lease_seconds": LEASE_SECONDS,
                "registry_read_seconds": 0.1,
                "go_timeout_seconds": 1,
                "drain_seconds": 1,
                **settings,
            }
            ports = await stack.enter_async_context(compute_router(Settings(**values)))
            return RunningRouter(ports, pki, redis_url)

        yield start


@pytest.fixture
def router_settings() -> dict:
    """Override to give the router other settings."""
    return {}


@pytest.fixture
async def router(open_router, router_settings) -> RunningRouter:
    return await open_router(**router_settings)


@pytest.fixture
async def job_service(router) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the router as job-service has it."""
    async with router.channel_as("job-service") as channel:
        yield channel


class Execution:
    """One call of `Execute`, as job-service makes it."""

    def __init__(self, channel: grpc.aio.Channel, timeout_seconds: float = 30) -> None:
        stub = execution_service_pb2_grpc.ExecutionServiceStub(channel)
        self.call = stub.Execute(timeout=timeout_seconds)

    async def start(self, job_id: str = "j1", model: str = "auto", text: str = "hello", **values):
        values = {"attempt": 1, "max_tokens": 0, **values}
        inputs = values.get("inputs", [])
        start = execution_pb.ExecuteRequest.Start(
            job_id=job_id,
            attempt=values["attempt"],
            project_id="p1",
            query=router_pb.RouteQuery(
                model=model, prompt=text, operation=values.get("operation", CHAT)
            ),
            messages=[] if inputs else [worker_pb.ChatMessage(role="user", content=text)],
            sampling=worker_pb.SamplingParameters(max_tokens=values["max_tokens"]),
            inputs=inputs,
        )
        await self.call.write(execution_pb.ExecuteRequest(start=start))
        return self

    async def go(self, client_task_id: str) -> None:
        go = execution_pb.ExecuteRequest.Go(client_task_id=client_task_id)
        await self.call.write(execution_pb.ExecuteRequest(go=go))

    async def next(self, kind: str):
        """Return the next event, which must be of that kind."""
        with rpc_errors():
            response = await self.call.read()
        assert response is not grpc.aio.EOF, f"the stream ended instead of {kind}"
        assert response.WhichOneof("event") == kind, response
        return getattr(response, kind)

    async def rest(self) -> list:
        """Return all further events."""
        events = []
        with rpc_errors():
            while (response := await self.call.read()) is not grpc.aio.EOF:
                events.append(response)
        return events


@pytest.fixture
def execute(job_service):
    """A callable: arguments of `Execution.start` -> a started execution."""

    async def start(*args, **kwargs) -> Execution:
        return await Execution(job_service).start(*args, **kwargs)

    return start


@pytest.fixture
def execution_on():
    """The class `Execution`: channel -> an execution that is not started yet."""
    return Execution


@pytest.fixture
def eventually():
    """A callable that waits for a condition: see `wait_until`."""
    return wait_until


@pytest.fixture
def unused_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
