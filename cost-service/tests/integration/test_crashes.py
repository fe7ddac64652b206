"""X-R5: the service is killed around each commit, and whoever asked asks again."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import asynccontextmanager

import pytest
from weir.cost.v1 import ledger_service_pb2 as pb
from weir.cost.v1 import ledger_service_pb2_grpc as pb_grpc

from service_kit.errors import ErrorCode, ServiceError
from service_kit.grpc_client import open_channel
from service_kit.grpc_errors import rpc_errors
from service_kit.metrics import new_registry
from service_kit.testing.pki import make_test_pki

from .conftest import check_books

SCOPE = pb.BudgetScope(
    kind=pb.BUDGET_SCOPE_KIND_PROJECT, scope_id="p1", owner_user_id="owner-1", default_cap=True
)


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return make_test_pki(tmp_path_factory.mktemp("pki"), ["cost-service", "job-service"])


class Service:
    """`python -m cost_service` as a process, and a ledger stub as job-service has it."""

    def __init__(self, process, ledger) -> None:
        self.process = process
        self.ledger = ledger

    async def call(self, method, request):
        with rpc_errors():
            return await getattr(self.ledger, method)(request, timeout=60, wait_for_ready=True)


@asynccontextmanager
async def running_service(database, pki, failpoints=""):
    files, port = pki["cost-service"], free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cost_service",
        env={
            "PATH": "/usr/bin:/bin",
            "ENVIRONMENT": "test",
            "DATABASE_URL": database,
            "AUTH_SERVICE_ADDRESSES": "127.0.0.1:1",
            "GRPC_ADDRESS": f"127.0.0.1:{port}",
            "TLS_CA_FILE": str(files.ca_file),
            "TLS_CERT_FILE": str(files.cert_file),
            "TLS_KEY_FILE": str(files.key_file),
            "LOG_LEVEL": "WARNING",
            "DRAIN_SECONDS": "1",
            "FAILPOINTS": failpoints,
        },
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        async with open_channel(
            f"127.0.0.1:{port}",
            service="cost-service",
            tls=pki["job-service"],
            registry=new_registry("job-service"),
        ) as channel:
            yield Service(process, pb_grpc.LedgerServiceStub(channel))
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), 60)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def hold(hold_id):
    return pb.PlaceHoldRequest(
        hold_id=hold_id, scopes=[SCOPE], amount_nanousd=100, price_version="1"
    )


def post(hold_id):
    return pb.PostHoldRequest(
        hold_id=hold_id,
        amount_nanousd=60,
        scopes=[SCOPE],
        outcome=pb.OutcomeSummary(job_id="j", project_id="p1", job_state="completed"),
    )


@pytest.mark.parametrize("place", ["before_hold_commit", "after_hold_commit"])
async def test_killed_around_a_hold(money, database, pki, place):
    """The hold asked for again is the one hold, whether or not the first had been committed."""
    async with running_service(database, pki, f"{place}=kill:3") as service:
        for number in range(2):
            await service.call("PlaceHold", hold(f"j{number}:1"))
        with pytest.raises(ServiceError) as lost:
            await service.call("PlaceHold", hold("j2:1"))
        assert lost.value.code is ErrorCode.UNAVAILABLE
        assert await service.process.wait() == -signal.SIGKILL
    async with running_service(database, pki) as service:
        again = await service.call("PlaceHold", hold("j2:1"))

    assert again.hold.state == pb.HOLD_STATE_HELD
    assert (await money.budget())[1:] == (300, 0)
    await check_books(database)


@pytest.mark.parametrize("place", ["before_post_commit", "after_post_commit"])
async def test_killed_around_a_post(money, database, pki, place):
    """A post sent again is booked once, whether or not the first had been committed."""
    async with running_service(database, pki, f"{place}=kill:2") as service:
        for number in range(2):
            await service.call("PlaceHold", hold(f"j{number}:1"))
        assert (await service.call("PostHold", post("j0:1"))).booked
        with pytest.raises(ServiceError) as lost:
            await service.call("PostHold", post("j1:1"))
        assert lost.value.code is ErrorCode.UNAVAILABLE
        assert await service.process.wait() == -signal.SIGKILL
    async with running_service(database, pki) as service:
        again = await service.call("PostHold", post("j1:1"))

    assert again.booked == (place == "before_post_commit")
    assert (await money.budget())[1:] == (0, 120)
    assert await money.value("SELECT count(*) FROM ledger") == 2
    await check_books(database)


async def test_stopped_gently(database, pki):
    """SIGTERM ends the service by itself, with success."""
    async with running_service(database, pki) as service:
        await service.call("PlaceHold", hold("j0:1"))
        os.kill(service.process.pid, signal.SIGTERM)

        assert await asyncio.wait_for(service.process.wait(), 60) == 0
