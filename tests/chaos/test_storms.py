"""Many at once: for one budget, for one key, and all of them leaving.

Small in `make test`; CHAOS_SCALE repeats them in `make test-chaos`.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter

import aiohttp
import grpc
import psutil
import pytest
from chaos_blows import wait_for
from chaos_books import open_books
from chaos_client import submitting_client
from chaos_plan import REPLICAS
from chaos_victims import calls_under_way, samples_of, work_of
from chaos_work import LONG_TOKENS, PROMPT, body_of
from prometheus_client import CollectorRegistry
from weir.cost.v1 import ledger_service_pb2 as pb
from weir.cost.v1 import ledger_service_pb2_grpc as pb_grpc

from service_kit.errors import ServiceError, Unavailable
from service_kit.grpc_client import open_channel
from service_kit.grpc_errors import rpc_errors
from service_kit.ids import new_id
from service_kit.tls import TlsFiles
from weir_local.services import NAMES, process_name
from weir_local.stack import Stack

SCALE = int(os.environ.get("CHAOS_SCALE", "1"))
CAP_NANOUSD = 1_000_000 * 10**9  # DEFAULT_PROJECT_CAP_USD of the stack
RACING, ROOM = 100, 50
# What a pool may open for the first time while something is measured.
SPARE_DESCRIPTORS = 8

pytestmark = pytest.mark.timeout(900)


async def test_exactly_as_many_as_there_is_room_for(chaos_stack):
    """X-M1: of 100 holds at once with room for 50 and none settling, 50; in every round."""
    async with ledger_channel(chaos_stack) as channel, open_books(chaos_stack) as books:
        ledger = pb_grpc.LedgerServiceStub(channel)
        for _ in range(5 * SCALE):
            project, hold_ids = new_id(), [f"{new_id()}:1" for _ in range(RACING)]
            holds = [place(ledger, project, hold_id) for hold_id in hold_ids]
            outcomes = await asyncio.gather(*holds)
            counts = Counter(outcomes)
            assert counts == {"HOLD_STATE_HELD": ROOM, "BUDGET_EXCEEDED": RACING - ROOM}
            held = [
                each for each, outcome in zip(hold_ids, outcomes, strict=True) if "HELD" in outcome
            ]
            # They have no jobs that would settle them.
            await asyncio.gather(*(ledger.VoidHold(void_of(project, each)) for each in held))
        assert await books.left_over(60) == {}
    check = await asyncio.to_thread(chaos_stack.check_ledger)
    assert check.consistent, check.report


async def test_one_key_is_one_job(chaos_stack):
    """X-M11: 100 submissions at once with the same key and body are one job."""
    async with submitting_client(chaos_stack.gateway_url, "twins") as us:

        async def submit() -> tuple[int, str]:
            headers = {"Idempotency-Key": "only-once"}
            async with us.session.post("/api/v1/jobs", json=body_of(1), headers=headers) as answer:
                return answer.status, (await answer.json())["job_id"]

        answers = await asyncio.gather(*(submit() for _ in range(100)))
        async with open_books(chaos_stack) as books:
            assert await books.left_over(60) == {}
            evidence = await books.evidence(us.project_id)

    assert {status for status, _ in answers} == {202}
    assert {job_id for _, job_id in answers} == set(evidence.jobs)
    assert [entry.kind for entry in evidence.entries] == ["post"]


async def test_who_leaves_in_mid_stream_leaves_nothing_behind(chaos_stack):
    """X-P8: every job is settled, and no call, connection or place is kept for who is gone."""
    async with (
        submitting_client(chaos_stack.gateway_url, "leavers") as us,
        open_books(chaos_stack) as books,
    ):

        async def leave_all(count: int) -> None:
            for _ in range(count // 25):
                await asyncio.gather(*(leave_in_mid_stream(us.session) for _ in range(25)))
            assert await books.left_over(60) == {}
            await wait_for(lambda: nothing_under_way(chaos_stack), 30, "calls are still under way")

        await leave_all(25)  # opens what pools keep
        before = opened(chaos_stack)
        await leave_all(25 * SCALE)
        after = opened(chaos_stack)
        evidence = await books.evidence(us.project_id)

    grown = {name: (before[name], after[name]) for name in before if after[name] > before[name]}
    assert all(now - then <= SPARE_DESCRIPTORS for then, now in grown.values()), grown
    jobs = evidence.jobs.values()
    assert len(evidence.jobs) == 25 + 25 * SCALE
    assert {job.state for job in jobs} == {"cancelled"}
    booked = Counter((entry.job_id, entry.amount_nanousd) for entry in evidence.entries)
    assert booked == Counter((job.job_id, job.charge_nanousd or 0) for job in jobs)


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


def void_of(project: str, hold_id: str) -> pb.VoidHoldRequest:
    outcome = pb.OutcomeSummary(
        job_id=hold_id.partition(":")[0], project_id=project, job_state="cancelled"
    )
    return pb.VoidHoldRequest(hold_id=hold_id, scopes=[scope_of(project)], outcome=outcome)


async def place(ledger: pb_grpc.LedgerServiceStub, project: str, hold_id: str) -> str:
    """Place one hold; return its state, or why there is none."""
    request = pb.PlaceHoldRequest(
        hold_id=hold_id,
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


async def leave_in_mid_stream(session: aiohttp.ClientSession) -> None:
    """Ask for a streamed answer, and leave with its first word."""
    body = {
        "model": "auto",
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": LONG_TOKENS,
        "stream": True,
    }
    async with session.post("/v1/chat/completions", json=body) as answer:
        assert answer.status == 200, await answer.text()
        async for line in answer.content:
            if b"word" in line:
                break
        answer.close()


async def nothing_under_way(stack: Stack) -> bool:
    """Tell whether no process has a call or an execution left."""
    executing = [
        await work_of(stack, service, index)
        for service in ("job-service", "compute-router", "gpu-worker")
        for index in range(REPLICAS)
    ]
    streams = calls_under_way(await samples_of(stack, "gateway"), "client", "RunJob")
    return not any(executing) and not streams


def opened(stack: Stack) -> dict[str, int]:
    """Return how many descriptors (connections, files) each process has open."""
    found = {}
    for service in NAMES:
        for index in range(stack.replicas.get(service, 1)):
            process = stack.find(service, index)
            assert process is not None, service
            found[process_name(service, index)] = psutil.Process(process.pid).num_fds()
    return found
