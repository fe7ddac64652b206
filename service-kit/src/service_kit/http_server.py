"""HTTP servers inside the service's own event loop, and the small one beside gRPC.

Health answers from results that a background loop keeps, so that a probe costs
nothing and a dependency that hangs does not hang the probe.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import structlog
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service_kit.loop import PeriodicLoop, running

log = structlog.get_logger(__name__)

CHECK_EVERY_SECONDS: Final = 2.0
CHECK_UNREADY_SECONDS: Final = 0.2
CHECK_TIMEOUT_SECONDS: Final = 1.5
# A result older than this is no result: the loop that refreshes it is stuck.
STALE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a readiness check found, and how long ago."""

    ok: bool
    message: str
    age_seconds: float


class ReadinessChecks:
    """What has to be in order before calls should come here.

    A check is an async function that returns when all is well and raises when
    not; returning `False` counts as not well. It gets 1.5 s.
    """

    def __init__(self) -> None:
        self._checks: dict[str, Callable[[], Awaitable[object]]] = {}
        self._found: dict[str, tuple[bool, str, float]] = {}
        self._draining = False

    def add(self, name: str, check: Callable[[], Awaitable[object]]) -> None:
        """Add a check; until it has run for the first time, it counts as failed."""
        self._checks[name] = check

    def drain(self) -> None:
        """Be unready from now on, whatever the checks say."""
        self._draining = True

    def results(self) -> dict[str, CheckResult]:
        """Return the latest result of every check, by name."""
        now = time.monotonic()
        return {name: self._result(name, now) for name in self._checks}

    def ready(self) -> bool:
        """Tell whether every check succeeded lately and nobody asked to drain."""
        return not self._draining and all(result.ok for result in self.results().values())

    async def run_all(self) -> None:
        """Run every check once, side by side."""
        async with asyncio.TaskGroup() as tasks:
            for name, check in self._checks.items():
                tasks.create_task(self._run(name, check))

    async def _run(self, name: str, check: Callable[[], Awaitable[object]]) -> None:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                ok = await check() is not False
            message = "ok" if ok else "not ready"
        except Exception as error:
            # Any failure means not ready; its kind is enough for whoever reads it.
            ok, message = False, type(error).__name__
        before = self._found.get(name)
        if before is None or before[0] != ok:
            log.info("readiness.changed", check=name, ok=ok, message=message)
        self._found[name] = (ok, message, time.monotonic())

    def _result(self, name: str, now: float) -> CheckResult:
        if name not in self._found:
            return CheckResult(False, "not checked yet", 0.0)
        ok, message, at = self._found[name]
        age = now - at
        if age > STALE_SECONDS:
            return CheckResult(False, "the last result is too old", age)
        return CheckResult(ok, message, age)


class _CheckGauge(Collector):
    """Shows the checks among the metrics, as they are when somebody looks."""

    def __init__(self, checks: ReadinessChecks) -> None:
        self._checks = checks

    def collect(self) -> Iterable[GaugeMetricFamily]:
        gauge = GaugeMetricFamily(
            "readiness_check", "1 while this readiness check succeeds.", labels=["check"]
        )
        for name, result in self._checks.results().items():
            gauge.add_metric([name], int(result.ok))
        yield gauge


@asynccontextmanager
async def serving_side_http(
    address: str, *, service: str, checks: ReadinessChecks, registry: CollectorRegistry
) -> AsyncIterator[int]:
    """Serve `/health/live`, `/health/ready` and `/metrics`; give the port that was bound.

    Readiness is 200 or 503, and in both cases JSON with every check, its
    message and the age of its result. The checks are among the metrics too.
    """
    app = side_app(service, checks, registry)
    gauge = _CheckGauge(checks)
    registry.register(gauge)
    try:
        async with serving_http(app, address) as port, running(watching(checks)):
            try:
                yield port
            finally:
                checks.drain()
    finally:
        registry.unregister(gauge)


def watching(checks: ReadinessChecks) -> PeriodicLoop:
    """Return the loop that keeps the results of checks fresh."""
    wake = asyncio.Event()

    async def tick() -> None:
        await checks.run_all()
        if not checks.ready():
            # Whoever waits for it learns soon that all is well.
            asyncio.get_running_loop().call_later(CHECK_UNREADY_SECONDS, wake.set)

    return PeriodicLoop("checks", CHECK_EVERY_SECONDS, tick, wake=wake)


def side_app(service: str, checks: ReadinessChecks, registry: CollectorRegistry) -> Starlette:
    """Return the app behind `serving_side_http`."""

    async def live(_: Request) -> Response:
        return JSONResponse({"service": service, "status": "live"})

    async def ready(_: Request) -> Response:
        return readiness_response(service, checks)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return Starlette(
        routes=[
            Route("/health/live", live),
            Route("/health/ready", ready),
            Route("/metrics", metrics),
        ]
    )


def readiness_response(service: str, checks: ReadinessChecks) -> JSONResponse:
    """Return what `/health/ready` answers."""
    is_ready = checks.ready()
    return JSONResponse(
        status_code=200 if is_ready else 503,
        content={
            "service": service,
            "status": "ready" if is_ready else "unready",
            "checks": {
                name: {
                    "ok": result.ok,
                    "message": result.message,
                    "age_seconds": round(result.age_seconds, 3),
                }
                for name, result in checks.results().items()
            },
        },
    )


@asynccontextmanager
async def serving_http(
    app: Any, address: str, *, drain_seconds: float = 1.0, **options: Any
) -> AsyncIterator[int]:
    """Serve an ASGI app until the block is left, and give the port that was bound.

    Args:
        app: The app.
        address: Where to listen, "host:port"; port 0 takes a free one.
        drain_seconds: How long running requests may go on once the block is left.
        options: More of `uvicorn.Config`.
    """
    listener = _listen(address)
    config = uvicorn.Config(
        app,
        **{
            "log_config": None,
            "access_log": False,
            "server_header": False,
            "timeout_graceful_shutdown": max(1, round(drain_seconds)),
            **options,
        },
    )
    server = _Server(config)
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.serve(sockets=[listener]), name="http")
        try:
            await server.wait_started(serving)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True


class _Server(uvicorn.Server):
    """Leaves signals to `lifecycle` and tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._listening.set()

    async def wait_started(self, serving: asyncio.Task[None]) -> None:
        """Return once the server listens; raise if it ended instead."""
        listening = asyncio.ensure_future(self._listening.wait())
        await asyncio.wait({listening, serving}, return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        if serving.done() or self.should_exit:
            raise RuntimeError("the HTTP server did not start")


def _listen(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's delay off only where the protocol is named.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, int(port)))
    except OSError:
        listener.close()
        raise
    return listener
