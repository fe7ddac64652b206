"""Many at once: for one key, and all of them leaving.

Small in `make test`; CHAOS_SCALE repeats them in `make test-chaos`.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter

import aiohttp
import psutil
import pytest
from chaos_blows import wait_for
from chaos_books import open_books
from chaos_client import submitting_client
from chaos_plan import REPLICAS
from chaos_victims import calls_under_way, samples_of, work_of
from chaos_work import LONG_TOKENS, PROMPT, body_of

from weir_local.services import NAMES, process_name
from weir_local.stack import Stack

SCALE = int(os.environ.get("CHAOS_SCALE", "1"))
# What a pool may open for the first time while something is measured.
SPARE_DESCRIPTORS = 8

pytestmark = pytest.mark.timeout(900)


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
