"""Every internal method refuses callers without a certificate, or with the wrong one.

The callers that may are read from the table in `docs/architecture.md`, so the page can't drift.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import grpc
import pytest

SERVED_BY = {
    "weir.auth.v1": "auth-service",
    "weir.job.v1": "job-service",
    "weir.cost.v1": "cost-service",
    "weir.router.v1": "compute-router",
    "weir.worker.v1": "gpu-worker",
}
SERVICES = (
    "gateway",
    "auth-service",
    "job-service",
    "cost-service",
    "compute-router",
    "gpu-worker",
)


def allowed_callers():
    page = Path(__file__).resolve().parents[2] / "docs" / "architecture.md"
    table = page.read_text().split("| RPC service | Callers |")[1].split("\n\n")[0]
    callers = {}
    for row in table.splitlines():
        names, _, who = row.strip("|").partition("|")
        for name in re.findall(r"`(\w+Service)`", names):
            callers[name] = {caller.strip() for caller in who.split(",")}
    return callers


@pytest.fixture(scope="module")
def methods(rpc_methods):
    """(server, full method name, RPC service) of every RPC of ours."""
    return [
        (SERVED_BY[package], f"/{package}.{service}/{method}", service)
        for package, service, method in rpc_methods
    ]


async def call(channel, method):
    """Send an empty request and return the status that came back.

    Where the refusal meets the request on its way, grpc.aio calls that an internal error of its
    own and forgets what the server said: then it is asked again.
    """
    for _ in range(5):
        code, details = await _call_once(channel, method)
        if (code, details) != (grpc.StatusCode.INTERNAL, "Internal error from Core"):
            break
    return code, details


async def _call_once(channel, method):
    stream = channel.stream_stream(method)(timeout=5)
    try:
        await stream.write(b"")
        await stream.done_writing()
        async for _ in stream:
            break
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        # It may have been refused before it was written.
        return await stream.code(), await stream.details()
    return grpc.StatusCode.OK, ""


async def test_every_method_refuses_the_wrong_service(stack, methods):
    """A valid certificate of a service that is not on the list opens no method."""
    callers = allowed_callers()
    wrong = []
    for caller in SERVICES:
        for server in set(SERVED_BY.values()):
            async with stack.internal_channel(server, caller=caller) as channel:
                for owner, method, service in methods:
                    if owner != server:
                        continue
                    code, details = await call(channel, method)
                    refused = (
                        code is grpc.StatusCode.PERMISSION_DENIED
                        and "is not open to this caller" in details
                    )
                    if refused == (caller in callers[service]):
                        wrong.append((caller, method, code, details))

    assert wrong == []


async def test_no_certificate_no_handshake(stack, methods):
    """Without a certificate the connection itself fails, for every server."""
    for server in set(SERVED_BY.values()):
        method = next(method for owner, method, _ in methods if owner == server)
        async with stack.internal_channel(server, caller=None) as channel:
            code, _ = await call(channel, method)
        assert code is grpc.StatusCode.UNAVAILABLE, server


async def test_plaintext_is_refused(stack, methods):
    """Nothing listens without TLS."""
    for server in set(SERVED_BY.values()):
        method = next(method for owner, method, _ in methods if owner == server)
        async with grpc.aio.insecure_channel(stack.grpc_address(server)) as channel:
            code, _ = await call(channel, method)
        assert code is grpc.StatusCode.UNAVAILABLE, server
