"""The whole stack as processes, and people who use it.

Each starts once: modules that share one share a worker, too. `stack` runs the real model.
`crash_stack` and `cloud_stack` run `ENGINE=instant` with short leases, to be killed. `cloud_stack`
has a cloud besides: a llama.cpp server in Yotta's place.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import httpx
import openai
import pytest
from redis.asyncio import Redis
from xdist.scheduler import LoadScopeScheduling

from service_kit.ids import new_id
from service_kit.testing.tokens import TestIssuer
from weir_local.stack import Stack

REPOSITORY = Path(__file__).resolve().parents[2]
TEST = {"ENVIRONMENT": "test"}
FINAL = {"completed", "failed", "dead_letter", "cancelled"}
PASSWORD = "correct horse battery staple"
SHORT_LEASES = {
    "LEASE_SECONDS": "2",
    "LEASE_RENEW_SECONDS": "0.5",
    "POLL_SECONDS": "0.2",
    "RETRY_BACKOFF_SECONDS": "0.2",
    "RECONCILE_AFTER_SECONDS": "4",
}


class RunningStack:
    """A stack that tests may look into and break."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.gateway_url = stack.gateway_url

    def grpc_address(self, service: str) -> str:
        return self._stack.grpc_address(service)

    def internal_channel(self, server: str, *, caller: str | None) -> grpc.aio.Channel:
        """Open a channel to a service as another service, or without any certificate."""
        name = "gpu-worker/local-0" if caller == "gpu-worker" else caller
        files = self._stack.authority.issue(name or "gateway")
        credentials = grpc.ssl_channel_credentials(
            files.authority.read_bytes(),
            files.key.read_bytes() if caller else None,
            files.certificate.read_bytes() if caller else None,
        )
        options = (("grpc.ssl_target_name_override", server),)
        return grpc.aio.secure_channel(self.grpc_address(server), credentials, options)

    # --- breaking it -------------------------------------------------------------------------

    def arm(self, service: str, failpoint: str, *, action: str = "kill") -> None:
        """Make a running service die, or pause, where the failpoint is."""
        failpoints_file(self._stack.home, service).write_text(f"{failpoint}={action}")

    def disarm(self, service: str) -> None:
        """Let a running service pass every failpoint again."""
        failpoints_file(self._stack.home, service).write_text("")

    async def revive(self, service: str) -> None:
        """Start a service that died, with nothing armed."""
        self.disarm(service)
        await asyncio.to_thread(self._stack.start_service, service)
        await self._reached_through_the_gateway()

    async def _reached_through_the_gateway(self) -> None:
        """Return when the gateway has found its way back to the services."""
        async with AsyncExitStack() as clients:
            probe = await wait_until(lambda: self._register_probe(clients), seconds=20)

            async def answers() -> bool:
                jobs = await probe.http.get("/api/v1/jobs")
                costs = await probe.http.get(f"/api/v1/costs/projects/{probe.project_id}/budget")
                return jobs.status_code == costs.status_code == 200

            await wait_until(answers, seconds=20)

    async def _register_probe(self, clients: AsyncExitStack) -> Account:
        return await _register(self.gateway_url, clients)

    async def kill(self, service: str) -> None:
        await asyncio.to_thread(self.kill_now, service)

    def kill_now(self, service: str, index: int = 0) -> None:
        self._stack.kill(service, index)

    async def start(self, service: str, index: int) -> None:
        await asyncio.to_thread(self._stack.start_service, service, index)

    async def start_yotta(self) -> None:
        """Start the cloud again. The others take `yotta` for a service's name."""
        await asyncio.to_thread(self._stack.start_yotta)

    @property
    def yotta(self) -> tuple[str, str]:
        """The cloud's address, and the key to it."""
        return self._stack.yotta_url, self._stack.secrets.password("yotta.key")

    @property
    def administrator(self) -> dict[str, str]:
        """What the administrator of the installation logs in with."""
        return {
            "username": self._stack.state.admin["username"],
            "password": self._stack.secrets.password("admin.password"),
        }

    def freeze(self, service: str) -> None:
        self._stack.send(service, signal.SIGSTOP)

    def thaw(self, service: str) -> None:
        self._stack.send(service, signal.SIGCONT)

    async def died(self, service: str, *, seconds: float = 20) -> None:
        """Return when the process is gone; fail if the failpoint was never reached."""
        deadline = time.monotonic() + seconds
        while self._stack.find(service) is not None:
            assert time.monotonic() < deadline, f"{service} never reached its failpoint"
            await asyncio.sleep(0.05)

    # --- looking into it ---------------------------------------------------------------------

    async def settled_ledger_of(
        self, job_id: str, *, admissions: int = 1, seconds: float = 20
    ) -> list[dict[str, Any]]:
        """Return the ledger's entries for a job, once so many are there and no hold is open."""
        deadline = time.monotonic() + seconds
        while True:
            entries = await self._query(
                "cost-service",
                "SELECT kind, amount_nanousd FROM ledger WHERE job_id = $1 ORDER BY hold_id",
                job_id,
            )
            held = await self._query(
                "cost-service",
                "SELECT hold_id FROM holds WHERE job_id = $1 AND state = 'held'",
                job_id,
            )
            if len(entries) >= admissions and not held:
                return entries
            assert time.monotonic() < deadline, f"job {job_id} is not settled: {entries} {held}"
            await asyncio.sleep(0.1)

    async def changes_of(self, job_id: str) -> list[str]:
        """Return what happened to a job, in order: `created`, `running`, ..."""
        rows = await self._query(
            "job-service",
            "SELECT type FROM lifecycle_events WHERE job_id = $1 ORDER BY seq",
            job_id,
        )
        return [row["type"] for row in rows]

    def assert_books_agree(self) -> None:
        """The ledger checker, run as an operator would, is content."""
        check = self._stack.check_ledger()
        assert check.consistent, check.report

    def logged(self, service: str, event: str) -> int:
        """Count the log lines of a service with this event."""
        return len(self.log_lines(service, event))

    def log_lines(self, service: str, event: str, **values: object) -> list[dict[str, Any]]:
        """Return the log lines of a service with this event and these values."""
        lines = self._stack.log(service).read_text().splitlines()
        read = [json.loads(line) for line in lines if line[:1] == "{"]
        wanted = {"event": event, **values}
        return [line for line in read if wanted.items() <= line.items()]

    async def wipe_redis(self) -> None:
        """Take everything out of Redis, as a restart without its disk would."""
        client = Redis.from_url(self._stack.valkey.url)
        try:
            await client.flushall()
        finally:
            await client.aclose()

    async def _query(self, service: str, query: str, *values: object) -> list[dict[str, Any]]:
        connection = await asyncpg.connect(self._stack.database_url(service))
        try:
            return [dict(row) for row in await connection.fetch(query, *values)]
        finally:
            await connection.close()


@dataclass
class Account:
    """A registered person with an API key, and the clients they use."""

    username: str
    user_id: str
    project_id: str
    api_key: str
    http: httpx.AsyncClient
    v1: httpx.AsyncClient
    openai: openai.AsyncOpenAI = field(repr=False)

    async def new_key(self, scopes: list[str]) -> str:
        made = await self.http.post(
            "/api/v1/auth/api-keys", json={"name": f"key {new_id()}", "scopes": scopes}
        )
        assert made.status_code == 201, made.text
        return str(made.json()["secret"])

    async def jobs(self) -> list[dict[str, Any]]:
        answer = await self.http.get("/api/v1/jobs")
        assert answer.status_code == 200, answer.text
        return list(answer.json()["jobs"])

    async def budget(self) -> dict[str, Any]:
        answer = await self.http.get(f"/api/v1/costs/projects/{self.project_id}/budget")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def set_budget(self, amount: str) -> None:
        answer = await self.http.put(
            f"/api/v1/projects/{self.project_id}/budget", json={"budget_allocated": amount}
        )
        assert answer.status_code == 200, answer.text

    async def charged_nanousd(self) -> int:
        """What is booked or held for this account's default project."""
        budget = await self.budget()
        return int(budget["actual_cost_nanousd"]) + int(budget["reserved_nanousd"])

    async def finished_job(self, job_id: str, *, seconds: float = 60) -> dict[str, Any]:
        """Return a job once it is final."""

        async def final() -> dict[str, Any] | None:
            answer = await self.http.get(f"/api/v1/jobs/{job_id}")
            if answer.status_code >= 500:
                return None
            assert answer.status_code == 200, answer.text
            job = answer.json()
            return job if job["state"] in FINAL else None

        return await wait_until(final, seconds=seconds)

    async def only_job_finished(self, *, seconds: float = 60) -> dict[str, Any]:
        """Return this account's one and only job once it is final."""
        jobs = await wait_until(self.jobs, seconds=seconds)
        assert len(jobs) == 1
        return await self.finished_job(jobs[0]["job_id"], seconds=seconds)


async def wait_until(condition: Callable[[], Awaitable[Any]], *, seconds: float) -> Any:
    """Return the first result of the condition that is true, or fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        result = await condition()
        if result:
            return result
        assert time.monotonic() < deadline, f"not within {seconds} s"
        await asyncio.sleep(0.1)


@pytest.fixture
def until() -> Callable[..., Awaitable[Any]]:
    return wait_until


def failpoints_file(home: Path, service: str) -> Path:
    return home / f"{service}.failpoints"


@contextmanager
def started_stack(
    services: dict[str, dict[str, str]],
    replicas: dict[str, int] | None = None,
    *,
    yotta: bool = False,
) -> Iterator[RunningStack]:
    # A short path: sockets and `nobody` need to reach it.
    directory = Path(tempfile.mkdtemp(prefix="weir-e2e-"))
    directory.chmod(0o755)
    home = directory / "weir"
    for service in ("job-service", "cost-service"):
        armed = {"FAILPOINTS": f"@{failpoints_file(home, service)}"}
        services[service] = services.get(service, {}) | armed
    stack = Stack(
        home,
        environment=TEST,
        services=services,
        replicas=replicas or {},
        yotta=yotta,
        stop_with_launcher=True,
    )
    try:
        stack.up()
        yield RunningStack(stack)
    finally:
        stack.down()
        shutil.rmtree(directory, ignore_errors=True)


STACKS = ("cloud_stack", "crash_stack", "stack")


def _stack_of(fixtures: Collection[str]) -> str:
    """Return the stack that a test with these fixtures uses; nobody else needs one more."""
    return next((name for name in STACKS if name in fixtures), "stack")


# These break what they use; all other modules share the whole `stack`.
STACK_OF_MODULE = {
    "test_crash_points": "crash_stack",
    "test_job_events": "crash_stack",
    "test_cloud": "cloud_stack",
}


class ByStack(LoadScopeScheduling):
    """Gives all modules of a stack to one worker; those from elsewhere get one each."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        if not module.startswith("tests/e2e/"):
            return module
        return STACK_OF_MODULE.get(Path(module).stem, "stack")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByStack:
    return ByStack(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests here more time: the first one of a stack waits for its start too."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def stack() -> Iterator[RunningStack]:
    """Weir with the real model."""
    limits = {"RATE_LIMIT_PER_MINUTE": "6000", "AUTH_RATE_LIMIT_PER_MINUTE": "6000"}
    with started_stack({"gateway": limits}) as running:
        yield running


def instant(**services: dict[str, str]) -> dict[str, dict[str, str]]:
    limits = {"RATE_LIMIT_PER_MINUTE": "6000", "AUTH_RATE_LIMIT_PER_MINUTE": "6000"}
    return {
        "gateway": limits,
        "job-service": SHORT_LEASES,
        "compute-router": {"WORKER_LEASE_SECONDS": "2"},
        "gpu-worker": {
            "ENGINE": "instant",
            "ENGINE_SLOTS": "4",
            "INSTANT_TOKENS": "20",
            "INSTANT_TOKEN_DELAY_MS": "20",
        },
        **services,
    }


@pytest.fixture(scope="session")
def crash_stack() -> Iterator[RunningStack]:
    """Weir with the stand-in engine and short leases, to be killed.

    A second job-service is configured; tests that need it start it.
    """
    with started_stack(instant(), {"job-service": 2}) as running:
        running.kill_now("job-service", 1)
        yield running
        running.assert_books_agree()


@pytest.fixture(scope="session")
def cloud_stack() -> Iterator[RunningStack]:
    """Weir with a real llama.cpp server as Yotta, and the stand-in engine on our own worker."""
    services = instant(
        **{
            "compute-router": {
                "WORKER_LEASE_SECONDS": "2",
                "COMPLEXITY_THRESHOLD": "50",
                "YOTTA_FIRST_BYTE_SECONDS": "8",
            },
            "gpu-worker": {
                "ENGINE": "instant",
                "INSTANT_TOKENS": "20",
                # The name of Yotta's model, so that prompts may fall back.
                "MODEL_NAME": "smollm2-135m-instruct",
            },
            "yotta": {"YOTTA_THREADS": "1"},
        }
    )
    with started_stack(services, yotta=True) as running:
        yield running
        running.assert_books_agree()


@pytest.fixture
async def new_account(request: pytest.FixtureRequest) -> AsyncIterator[Callable[[], Any]]:
    """Make accounts on whichever stack the test uses."""
    running: RunningStack = request.getfixturevalue(_stack_of(request.fixturenames))
    async with AsyncExitStack() as clients:

        async def make() -> Account:
            return await _register(running.gateway_url, clients)

        yield make


@pytest.fixture
async def account(new_account: Callable[[], Awaitable[Account]]) -> Account:
    """Somebody new, with a default project and a key that may read, infer and queue."""
    return await new_account()


async def _register(gateway_url: str, clients: AsyncExitStack) -> Account:
    username = f"user-{new_id()}"
    http = await clients.enter_async_context(httpx.AsyncClient(base_url=gateway_url, timeout=60))
    registered = await http.post(
        "/api/v1/auth/register",
        json={
            "email": f"{username}@example.org",
            "username": username,
            "name": "Ada",
            "password": PASSWORD,
        },
    )
    assert registered.status_code == 201, registered.text
    http.headers["authorization"] = f"Bearer {registered.json()['access_token']}"
    me = (await http.get("/api/v1/auth/me")).json()
    made = await http.post(
        "/api/v1/auth/api-keys",
        json={"name": "tests", "scopes": ["read", "inference", "jobs:write"]},
    )
    assert made.status_code == 201, made.text
    key = made.json()["secret"]
    v1 = await clients.enter_async_context(
        httpx.AsyncClient(
            base_url=gateway_url, headers={"authorization": f"Bearer {key}"}, timeout=60
        )
    )
    client = await clients.enter_async_context(
        openai.AsyncOpenAI(api_key=key, base_url=f"{gateway_url}/v1")
    )
    return Account(username, me["id"], me["default_project_id"], key, http, v1, client)


@pytest.fixture
def tokens_of_others() -> Callable[[str], dict[str, str]]:
    """Tokens for a user that our auth-service never signed."""

    def make(user_id: str) -> dict[str, str]:
        stranger = TestIssuer()
        now = int(time.time())
        return {
            "foreign": stranger.person_token(user_id),
            "internal": stranger.key_token(user_id),
            "expired": stranger.person_token(user_id, iat=now - 3600, exp=now - 1800),
            "garbage": "eyJhbGciOiJub25lIn0.e30.",
        }

    return make


@pytest.fixture(scope="session")
def rpc_methods() -> list[tuple[str, str, str]]:
    """(package, RPC service, method) of everything the protos declare."""
    generated = REPOSITORY / "protos" / "gen"
    found = []
    for file in sorted(generated.rglob("*_pb2.py")):
        name = ".".join(file.relative_to(generated).with_suffix("").parts)
        for service in importlib.import_module(name).DESCRIPTOR.services_by_name.values():
            package = service.full_name.rpartition(".")[0]
            found += [(package, service.name, method.name) for method in service.methods]
    assert len(found) > 20
    return found
