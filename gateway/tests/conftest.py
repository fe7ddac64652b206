"""The gateway as it is served, in front of scripted stand-ins of the services it calls.

The stand-ins are real gRPC servers with real mutual TLS that verify real tokens; only what
they answer is written down in the test. They and one gateway serve all tests of a session;
a test that needs other settings starts a gateway of its own with `serve`.
"""

import asyncio
import inspect
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest
import pytest_asyncio

from service_kit.loop import PeriodicLoop, running
from service_kit.testing.pki import make_test_pki
from service_kit.testing.rpc import serving_loopback
from service_kit.testing.tokens import TestIssuer

# pytest names this file `gateway.tests.conftest`, after its folders, and has put an empty
# package of that name where ours belongs.
if getattr(sys.modules.get("gateway"), "__file__", None) is None:
    sys.modules.pop("gateway", None)

from gateway.bootstrap import gateway
from gateway.settings import Settings

from .stand_ins import (
    SERVICES,
    USER_ID,
    WITH_TOKENS,
    WITHOUT_TOKENS,
    Script,
    api_key,
    scripted,
)

# A client loads every authority of the machine, which takes longer than most tests.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

# What lives as long as the session needs a loop that does.
for_all = pytest_asyncio.fixture(scope="session", loop_scope="session")


def pytest_collection_modifyitems(items):
    # A test of hypothesis is no coroutine function and says so itself.
    for item in items:
        is_ours = "gateway/tests/integration" in item.path.as_posix()
        if is_ours and inspect.iscoroutinefunction(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@dataclass(frozen=True)
class Served:
    """A gateway under test."""

    port: int
    side_port: int

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def socket_url(self):
        return f"ws://127.0.0.1:{self.port}"

    def client(self, **options):
        return httpx.AsyncClient(base_url=self.url, timeout=20, verify=NO_TLS, **options)


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    return make_test_pki(tmp_path_factory.mktemp("pki"), ["gateway", *SERVICES])


@pytest.fixture(scope="session")
def issuer():
    return TestIssuer()


@pytest.fixture(scope="session")
def whole_script(issuer):
    return Script(issuer)


@pytest.fixture
def script(whole_script):
    """What the stand-ins answer and were asked, fresh for each test."""
    whole_script.reset()
    return whole_script


@pytest.fixture
def person(issuer):
    """The headers of a person who logged in."""
    return {"authorization": f"Bearer {issuer.person_token(USER_ID)}"}


@pytest.fixture
def program():
    """The headers of a program with an API key."""
    return {"authorization": f"Bearer {api_key()}"}


@for_all
async def stand_ins(pki, issuer, whole_script):
    """Start the stand-ins; give the address of each service."""
    verifier = await issuer.verifier()
    addresses = {}
    async with AsyncExitStack() as stack:
        refresh = PeriodicLoop("stand-ins", 1.0, verifier.refresh)
        await stack.enter_async_context(running(refresh))
        for service, parts in SERVICES.items():
            names = {f"weir.{_area(pb)}.v1.{name}": name for pb, _, name in parts}
            loopback = await stack.enter_async_context(
                serving_loopback(
                    pki,
                    service,
                    _registering(parts, whole_script),
                    {full: ["gateway"] for full in names},
                    authenticate={
                        full: verifier for full, name in names.items() if name in WITH_TOKENS
                    },
                    unauthenticated_methods=WITHOUT_TOKENS,
                    drain_seconds=0.0,
                )
            )
            addresses[service] = loopback.address
        yield addresses


def _area(pb):
    return pb.DESCRIPTOR.package.split(".")[1]


def _registering(parts, script):
    def register(server):
        for pb, pb_grpc, name in parts:
            servicer = scripted(getattr(pb_grpc, f"{name}Servicer"), pb, script)
            getattr(pb_grpc, f"add_{name}Servicer_to_server")(servicer, server)

    return register


@pytest.fixture(scope="session")
def settings(pki, stand_ins):
    """Return settings with some changes."""
    files = pki["gateway"]

    def make(**changes):
        values = {
            "environment": "test",
            "tls_ca_file": files.ca_file,
            "tls_cert_file": files.cert_file,
            "tls_key_file": files.key_file,
            "drain_seconds": 0.0,
            "api_port": 0,
            "auth_service_addresses": stand_ins["auth-service"],
            "job_service_addresses": stand_ins["job-service"],
            "cost_service_addresses": stand_ins["cost-service"],
            "compute_router_addresses": stand_ins["compute-router"],
            # Nobody listens there; tests of Redis give a real one.
            "redis_url": "redis://127.0.0.1:9/0",
            "rate_limit_per_minute": 1_000_000,
            "auth_rate_limit_per_minute": 1_000_000,
        }
        return Settings(**{**values, **changes})

    return make


@pytest.fixture(scope="session")
def serve(settings, until):
    """Start a gateway with some settings changed, and wait until it is ready."""

    @asynccontextmanager
    async def start(**changes) -> AsyncIterator[Served]:
        async with gateway(settings(**changes)) as ports:
            served = Served(ports.api_port, ports.side_port)
            async with served.client() as client:
                await until(lambda: is_ready(client))
            yield served

    return start


async def is_ready(client):
    """Tell whether requests may come."""
    return (await client.get("/health/ready")).status_code == 200


@for_all
async def served(serve):
    """The gateway with the settings of most tests."""
    async with serve() as found:
        yield found


@pytest_asyncio.fixture(loop_scope="session")
async def http(served, script, until):
    """A client without credentials."""
    async with served.client() as client:
        # While other tests ran, nothing in this loop did: tokens may want to be loaded anew.
        await until(lambda: is_ready(client))
        yield client


@pytest.fixture(scope="session")
def until():
    """Wait for a condition, up to a deadline."""

    async def wait(condition, seconds=10.0):
        async with asyncio.timeout(seconds):
            while True:
                found = condition()
                if inspect.isawaitable(found):
                    found = await found
                if found:
                    return found
                await asyncio.sleep(0.01)

    return wait
