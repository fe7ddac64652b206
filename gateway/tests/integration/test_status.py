"""Health, metrics, documents, start and stop."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest_asyncio

from service_kit.errors import ErrorCode

from ..stand_ins import refusal

DOCUMENT = Path(__file__).parents[3] / "docs" / "openapi.json"


async def test_root(http, until):
    """What it is, how it is, what it can do."""
    answer = (await http.get("/")).json()

    assert answer["service"] == "weir"
    # Without Redis it serves, and says that something is missing.
    assert answer["status"] == "degraded"
    assert "openai_compatible_chat" in answer["features"]
    assert answer["documentation"] == "/docs"


async def test_health_names_every_dependency(http, until):
    """The state of each, and how old the knowledge is."""

    async def all_checked():
        checks = (await http.get("/health")).json()["checks"]
        return checks if checks["job-service"]["ok"] else None

    checks = await until(all_checked)

    assert set(checks) == {
        "token_verifier",
        "auth-service",
        "job-service",
        "cost-service",
        "compute-router",
        "models",
        "redis",
    }
    assert not checks["redis"]["ok"]


async def test_health_costs_nothing(http, script):
    """It answers from what is known and asks nobody."""
    before = len(script.calls)
    await asyncio.gather(*(http.get("/health") for _ in range(20)))

    asked = [call.method for call in script.calls[before:]]
    assert set(asked) <= {"ListSigningKeys", "ListDenials", "ListTargets"}


async def test_live_and_ready(http, served):
    """Both on the public interface and on the side."""
    async with httpx.AsyncClient() as side:
        for base in (served.url, f"http://127.0.0.1:{served.side_port}"):
            live = await side.get(f"{base}/health/live")
            ready = await side.get(f"{base}/health/ready")
            assert live.json() == {"service": "gateway", "status": "live"}
            assert ready.json()["checks"]["token_verifier"]["ok"] is True


async def test_unready_without_keys(settings, script, until):
    """A gateway that can't tell who calls is not ready, but lives, and refuses with 503."""
    from gateway.bootstrap import gateway

    script.answers["ListSigningKeys"] = refusal(ErrorCode.UNAVAILABLE, "UNAVAILABLE")
    async with (
        gateway(settings()) as ports,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports.api_port}") as http,
    ):
        live = await http.get("/health/live")
        ready = await http.get("/health/ready")
        refused = await http.get("/v1/models", headers={"authorization": "Bearer a.b.c"})
        script.reset()

        async def recovered():
            return (await http.get("/health/ready")).status_code == 200

        await until(recovered)

    assert (live.status_code, ready.status_code, refused.status_code) == (200, 503, 503)


async def test_documentation(http):
    """A page for people and a document for programs."""
    page = await http.get("/docs")
    document = (await http.get("/openapi.json")).json()

    assert page.status_code == 200
    assert "text/html" in page.headers["content-type"]
    assert "/v1/chat/completions" in document["paths"]


def test_committed_document_is_the_generated_one():
    """Who changes a route commits what it looks like now."""
    generated = subprocess.run(
        [sys.executable, "-m", "gateway", "openapi"], capture_output=True, text=True, check=True
    ).stdout

    assert json.loads(DOCUMENT.read_text()) == json.loads(generated)
    assert DOCUMENT.read_text() == generated


def test_every_operation_documents_its_errors():
    """Failures have the shape of their area in the document, too."""
    document = json.loads(DOCUMENT.read_text())

    for path, operations in document["paths"].items():
        shape = "OpenAIError" if path.startswith("/v1/") else "Problem"
        for operation in operations.values():
            for status in ("4XX", "5XX"):
                reference = operation["responses"][status]["$ref"]
                assert reference == f"#/components/responses/{shape}"


def test_every_request_model_refuses_the_unknown():
    """No body accepts a field that we would ignore (X-A20)."""
    document = json.loads(DOCUMENT.read_text())
    bodies = [
        operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        for operations in document["paths"].values()
        for operation in operations.values()
        if "requestBody" in operation
    ]

    assert bodies
    for reference in bodies:
        schema = document["components"]["schemas"][reference.rpartition("/")[2]]
        assert schema["additionalProperties"] is False


def test_migrate_says_that_there_is_nothing():
    """Whoever migrates every service need not know that this one has no database."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "migrate"], capture_output=True, text=True, check=True
    )

    assert "nothing to migrate" in done.stdout


def test_bad_setting_is_named():
    """A setting that is missing or unsafe ends the start with its name (X-O4)."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway"],
        env={"PATH": os.environ["PATH"], "API_PORT": "many"},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )

    assert done.returncode != 0
    assert "API_PORT" in done.stdout + done.stderr


@pytest_asyncio.fixture(loop_scope="session")
async def process(settings):
    """The gateway as a process of its own."""
    given = settings()
    environment = {
        name.upper(): str(value)
        for name, value in given.model_dump().items()
        if isinstance(value, (str, int, float, Path)) and not isinstance(value, bool)
    }
    environment |= {"REDIS_URL": given.redis_url.get_secret_value(), "PATH": os.environ["PATH"]}
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", env=environment, stdout=asyncio.subprocess.PIPE
    )
    yield started
    if started.returncode is None:
        started.kill()
    await started.wait()


async def test_process_serves_and_stops(process, script, until):
    """It logs JSON, serves on its port, and ends with 0 after SIGTERM."""
    async with asyncio.timeout(30):
        while True:
            event = json.loads(await process.stdout.readline())
            if event["event"] == "gateway.listening":
                break
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{event['api_port']}") as http:

            async def ready():
                return (await http.get("/health/ready")).status_code == 200

            await until(ready)
        process.send_signal(signal.SIGTERM)
        rest = await process.stdout.read()
        code = await process.wait()

    assert code == 0
    assert all(json.loads(line) for line in rest.splitlines())
