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


async def killed_by(service, method, request):
    """Call, and expect the service to be gone before it answers."""
    with pytest.raises(ServiceError) as lost:
        await service.call(method, request)
    assert lost.value.code is ErrorCode.UNAVAILABLE
    assert await service.process.wait() == -signal.SIGKILL


async def test_killed_around_every_commit(money, database, pki):
    """What is asked for again is done once, whether or not it had been committed before the kill.

    Each start is killed at the next place, and repeats what the one before it was asked.
    """
    async with running_service(database, pki, "before_hold_commit=kill:2") as service:
        await service.call("PlaceHold", hold("j1:1"))
        await killed_by(service, "PlaceHold", hold("j2:1"))
        assert (await money.budget())[1:] == (100, 0)

    async with running_service(database, pki, "after_hold_commit=kill:2") as service:
        await service.call("PlaceHold", hold("j2:1"))
        await killed_by(service, "PlaceHold", hold("j3:1"))
        assert (await money.budget())[1:] == (300, 0)

    async with running_service(database, pki, "before_post_commit=kill:2") as service:
        again = await service.call("PlaceHold", hold("j3:1"))
        assert again.hold.state == pb.HOLD_STATE_HELD
        assert (await service.call("PostHold", post("j1:1"))).booked
        await killed_by(service, "PostHold", post("j2:1"))
        assert (await money.budget())[1:] == (200, 60)

    async with running_service(database, pki, "after_post_commit=kill:2") as service:
        assert (await service.call("PostHold", post("j2:1"))).booked
        await killed_by(service, "PostHold", post("j3:1"))
        assert (await money.budget())[1:] == (0, 180)

    async with running_service(database, pki) as service:
        assert not (await service.call("PostHold", post("j3:1"))).booked
        with pytest.raises(ServiceError) as settled:
            await service.call("PlaceHold", hold("j3:1"))
        assert settled.value.reason == "HOLD_SETTLED"
        os.kill(service.process.pid, signal.SIGTERM)
        assert await asyncio.wait_for(service.process.wait(), 60) == 0

    assert (await money.budget())[1:] == (0, 180)
    assert await money.value("SELECT count(*) FROM ledger") == 3
    await check_books(database)
