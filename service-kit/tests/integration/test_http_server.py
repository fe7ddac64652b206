"""The HTTP server beside gRPC: liveness, readiness, metrics."""

import asyncio
import time

import httpx
import pytest
from fastapi import FastAPI

from service_kit import http_server
from service_kit.http_server import ReadinessChecks, serving_http, serving_side_http
from service_kit.metrics import new_registry


class Check:
    """A dependency that is well, away or hanging, as the test likes."""

    def __init__(self):
        self.mode = "well"
        self.asked = 0

    async def __call__(self):
        self.asked += 1
        if self.mode == "away":
            raise ConnectionError("postgresql://job:hunter2@db/job refused")
        if self.mode == "hanging":
            await asyncio.sleep(3600)
        return self.mode != "unready"


@pytest.fixture(autouse=True)
def quick_checks(monkeypatch):
    monkeypatch.setattr(http_server, "CHECK_EVERY_SECONDS", 0.05)
    monkeypatch.setattr(http_server, "CHECK_TIMEOUT_SECONDS", 0.1)


@pytest.fixture
def check():
    return Check()


@pytest.fixture
async def client(check):
    checks = ReadinessChecks()
    checks.add("database", check)
    async with (
        serving_side_http(
            "127.0.0.1:0",
            service="job-service",
            checks=checks,
            registry=new_registry("job-service"),
        ) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as opened,
    ):
        yield opened


async def readiness(client, status):
    async with asyncio.timeout(5):
        while True:
            response = await client.get("/health/ready")
            if response.status_code == status:
                return response.json()
            await asyncio.sleep(0.01)


async def test_ready_when_every_check_is_well(client):
    """200 names every check and the age of its result."""
    body = await readiness(client, 200)

    assert body["status"] == "ready"
    assert body["checks"]["database"]["ok"] is True
    assert 0 <= body["checks"]["database"]["age_seconds"] < 5


@pytest.mark.parametrize("mode", ["away", "hanging", "unready"])
async def test_unready_and_live_when_a_check_fails(client, check, mode):
    """Readiness turns 503 and back by itself; liveness holds all the while (X-R10)."""
    await readiness(client, 200)
    check.mode = mode
    body = await readiness(client, 503)
    live = await client.get("/health/live")
    check.mode = "well"
    await readiness(client, 200)

    assert body["checks"]["database"]["ok"] is False
    assert "hunter2" not in str(body)
    assert live.status_code == 200


async def test_probes_do_not_reach_the_dependency(client, check):
    """A flood of probes asks the database no more often than the background does."""
    await readiness(client, 200)
    asked, started = check.asked, time.monotonic()
    for _ in range(200):
        await client.get("/health/ready")
    rounds = (time.monotonic() - started) / 0.04 + 2

    assert check.asked - asked <= rounds


async def test_probe_is_quick_while_a_check_hangs(client, check):
    """A dependency that hangs does not hang the probe."""
    await readiness(client, 200)
    check.mode = "hanging"
    await asyncio.sleep(0.06)
    started = time.monotonic()
    await client.get("/health/ready")

    assert time.monotonic() - started < 0.5


def test_unchecked_and_stale_results_are_not_ready(monkeypatch):
    """Before the first result, and when results stop coming, a service is not ready."""
    checks = ReadinessChecks()
    checks.add("database", Check())
    assert not checks.ready()

    asyncio.run(checks.run_all())
    assert checks.ready()
    monkeypatch.setattr(http_server, "STALE_SECONDS", -1)
    assert not checks.ready()


def test_draining_is_not_ready():
    """A service that is going away takes no new work."""
    checks = ReadinessChecks()
    assert checks.ready()
    checks.drain()
    assert not checks.ready()


async def test_metrics_are_shown(client):
    """Prometheus finds the service's registry."""
    response = await client.get("/metrics")

    assert 'service_up{service="job-service"} 1.0' in response.text
    assert response.headers["content-type"].startswith("text/plain")


async def test_checks_are_among_the_metrics(client, check):
    """Which part of a service is not well can be seen over time."""
    await readiness(client, 200)
    well = (await client.get("/metrics")).text
    check.mode = "away"
    await readiness(client, 503)
    away = (await client.get("/metrics")).text

    assert 'readiness_check{check="database"} 1.0' in well
    assert 'readiness_check{check="database"} 0.0' in away


async def test_answers_are_not_delayed(client):
    """A request on a connection in use takes a moment, not the 40 ms of Nagle's algorithm."""
    await client.get("/health/live")
    started = time.monotonic()
    for _ in range(50):
        await client.get("/health/live")

    assert time.monotonic() - started < 1


async def test_nothing_else_is_there(client):
    """No docs, no schema, no server name."""
    for path in ("/docs", "/openapi.json", "/redoc", "/", "/%2e%2e/etc/passwd"):
        response = await client.get(path)
        assert response.status_code == 404
        assert "server" not in response.headers


async def test_running_request_finishes(monkeypatch):
    """Leaving the block lets a request in flight finish."""
    app, entered = FastAPI(), asyncio.Event()

    @app.get("/slow")
    async def slow() -> str:
        entered.set()
        await asyncio.sleep(0.3)
        return "finished"

    async with httpx.AsyncClient() as client:
        async with serving_http(app, "127.0.0.1:0", drain_seconds=5) as port:
            running = asyncio.ensure_future(client.get(f"http://127.0.0.1:{port}/slow"))
            await entered.wait()
        response = await running

    assert response.json() == "finished"


async def test_used_port_is_an_error():
    """A port that somebody else has stops the start instead of hiding us."""
    async with serving_http(FastAPI(), "127.0.0.1:0") as port:
        with pytest.raises(OSError):
            async with serving_http(FastAPI(), f"127.0.0.1:{port}"):
                pass


async def test_signals_stay_ours():
    """The HTTP server takes no signal handler away from the life cycle."""
    import signal

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    async with serving_http(FastAPI(), "127.0.0.1:0"):
        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
