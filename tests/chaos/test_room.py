"""X-M1 through two processes of cost-service: a budget is never passed, and holds never stay.

In `make test-chaos`; `make test` has the rounds without the processes (cost-service/tests).
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter

import grpc
import pytest
from chaos_books import open_books
from chaos_plan import REPLICAS
from prometheus_client import CollectorRegistry
from weir.cost.v1 import ledger_service_pb2 as pb
from weir.cost.v1 import ledger_service_pb2_grpc as pb_grpc

from service_kit.errors import ServiceError, Unavailable
from service_kit.grpc_client import open_channel
from service_kit.grpc_errors import rpc_errors
from service_kit.ids import new_id
from service_kit.tls import TlsFiles
from weir_local.stack import Stack

SCALE = int(os.environ.get("CHAOS_SCALE", "1"))
CAP_NANOUSD = 1_000_000 * 10**9  # DEFAULT_PROJECT_CAP_USD of the stack
RACING, ROOM = 100, 50


@pytest.mark.timeout(900)
async def test_exactly_as_many_as_there_is_room_for(chaos_stack):
    """Of 100 holds at once with room for 50 and none settling, 50 are placed; in every round.

    They have no jobs, as if admission had died behind each: reconciliation voids them all.
    """
    async with ledger_channel(chaos_stack) as channel, open_books(chaos_stack) as books:
        ledger = pb_grpc.LedgerServiceStub(channel)
        for _ in range(5 * SCALE):
            project = new_id()
            holds = [place(ledger, project) for _ in range(RACING)]
            outcomes = Counter(await asyncio.gather(*holds))
            assert outcomes == {"HOLD_STATE_HELD": ROOM, "BUDGET_EXCEEDED": RACING - ROOM}
        assert await books.left_over(60 + 10 * SCALE) == {}
    check = await asyncio.to_thread(chaos_stack.check_ledger)
    assert check.consistent, check.report


def ledger_channel(stack: Stack) -> grpc.aio.Channel:
    """Open a channel to both replicas of cost-service, as job-service does."""
    files = stack.authority.issue("job-service")
    addresses = [stack.grpc_address("cost-service", index) for index in range(REPLICAS)]
    return open_channel(
        ",".join(addresses),
        service="cost-service",
        tls=TlsFiles(files.authority, files.certificate, files.key),
        registry=CollectorRegistry(),
        default_deadline_seconds=30,
    )


def scope_of(project: str) -> pb.BudgetScope:
    return pb.BudgetScope(
        kind=pb.BUDGET_SCOPE_KIND_PROJECT,
        scope_id=project,
        owner_user_id=project,
        default_cap=True,
    )


async def place(ledger: pb_grpc.LedgerServiceStub, project: str) -> str:
    """Place one hold; return its state, or why there is none."""
    request = pb.PlaceHoldRequest(
        hold_id=f"{new_id()}:1",
        scopes=[scope_of(project)],
        amount_nanousd=CAP_NANOUSD // ROOM,
        price_version="1",
    )
    while True:
        try:
            with rpc_errors():
                placed = await ledger.PlaceHold(request)
        except Unavailable:
            # So many at once may wait too long for a connection: whoever asks, asks again.
            await asyncio.sleep(0.1)
        except ServiceError as error:
            return error.reason
        else:
            return pb.HoldState.Name(placed.hold.state)
