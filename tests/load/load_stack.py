"""What is measured: a bare FastAPI process, and a whole Weir with the stand-in engine."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from weir_local import ports
from weir_local.stack import Stack

HERE = Path(__file__).parent
ANSWER_TOKENS = 16
SECONDS_TO_START = 30.0
# Nothing is refused for its number or its price: refusals would be what is measured.
SETTINGS = {
    "gateway": {"RATE_LIMIT_PER_MINUTE": "100000000", "AUTH_RATE_LIMIT_PER_MINUTE": "100000000"},
    "cost-service": {
        "DEFAULT_ALLOWANCE_USD": "100000000",
        "DEFAULT_PROJECT_CAP_USD": "100000000",
    },
    "gpu-worker": {
        "ENGINE": "instant",
        "ENGINE_SLOTS": "64",
        "INSTANT_TOKENS": str(ANSWER_TOKENS),
    },
}


@dataclass(frozen=True, slots=True)
class Weir:
    """A running stack, and a program with a key to it."""

    gateway_url: str
    api_key: str
    jobs_database_url: str
    ledger_database_url: str
    redis_url: str


@contextmanager
def bare_fastapi() -> Iterator[str]:
    """Run FastAPI that does no work; give its address."""
    port = ports.choose()
    process = subprocess.Popen([sys.executable, str(HERE / "load_bare_app.py"), str(port)])
    try:
        url = f"http://127.0.0.1:{port}/"
        _wait_for(url)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=10)


@contextmanager
def running_weir() -> Iterator[Weir]:
    """Run one process of each service, and stop them when the block is left."""
    directory = Path(tempfile.mkdtemp(prefix="weir-bench-"))
    directory.chmod(0o755)  # `nobody`, who runs Postgres where we are root, has to reach it
    stack = Stack(
        directory / "weir",
        environment={"ENVIRONMENT": "test"},
        services=SETTINGS,
        stop_with_launcher=True,
    )
    try:
        stack.up()
        yield Weir(
            gateway_url=stack.gateway_url,
            api_key=_new_key(stack.gateway_url),
            jobs_database_url=stack.database_url("job-service"),
            ledger_database_url=stack.database_url("cost-service"),
            redis_url=stack.valkey.url,
        )
    finally:
        stack.down()
        shutil.rmtree(directory, ignore_errors=True)


def _new_key(gateway_url: str) -> str:
    with httpx.Client(base_url=gateway_url, trust_env=False, timeout=30) as client:
        person = {
            "email": "bench@example.org",
            "username": "bench",
            "name": "Bench",
            "password": "correct horse battery staple",
        }
        registered = client.post("/api/v1/auth/register", json=person).raise_for_status().json()
        made = client.post(
            "/api/v1/auth/api-keys",
            json={"name": "bench", "scopes": ["read", "inference", "jobs:write"]},
            headers={"authorization": f"Bearer {registered['access_token']}"},
        )
        return str(made.raise_for_status().json()["secret"])


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while True:
        try:
            httpx.get(url, trust_env=False, timeout=1).raise_for_status()
            return
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.05)
