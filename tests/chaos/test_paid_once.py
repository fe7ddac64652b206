"""X-P4 through the whole system: a provider that may have been paid is never paid again.

In `make test-chaos`; `make test` has the router's part (compute-router/tests).
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from itertools import count, islice

import pytest
from chaos_blows import wait_for, wait_until_ready
from chaos_books import open_books
from chaos_client import submitting_client
from chaos_plan import REPLICAS
from chaos_provider import ANSWER, MODEL, Provider, serving
from chaos_stack import arm, started_stack

from weir_local.stack import Stack

SCALE = int(os.environ.get("CHAOS_SCALE", "1"))
WAVE = 50
# Behind these the prompt is about to go out, or is out: the first is job-service's, in mid-wave.
BLOWS = [("job-service", "after_go=kill:10"), ("compute-router", "router_after_go=kill:10")]


@pytest.fixture
async def paid(plan):
    """A stack whose prompts all go to a provider, with workers that could take over; and that."""
    async with serving(plan.seed) as (provider, settings):
        further = {"compute-router": settings, "gpu-worker": {"MODEL_NAME": MODEL}}
        started = started_stack(plan, further=further)
        # In a thread: the provider answers meanwhile.
        stack = await asyncio.to_thread(started.__enter__)
        async with AsyncExitStack() as ended:
            ended.push_async_callback(asyncio.to_thread, started.__exit__, None, None, None)
            yield stack, provider


@pytest.mark.timeout(1200)
async def test_no_job_is_paid_twice(paid):
    """It fails, is cut off, says nothing, and whoever asked it dies: no job is with it twice.

    Nor does any that it took run elsewhere. Where it may have run, the job is AMBIGUOUS or has its
    answer; the tenant pays for answers alone.
    """
    stack, provider = paid
    async with (
        submitting_client(stack.gateway_url, "payers", at_once=WAVE) as us,
        open_books(stack) as books,
    ):
        numbers = count()
        for wave in range(SCALE):
            service, action = BLOWS[wave % len(BLOWS)]
            await strike(stack, us, service, wave // 2 % REPLICAS, action, numbers)
        left = await books.left_over(120)
        evidence = await books.evidence(us.project_id)
        check = await asyncio.to_thread(stack.check_ledger)

    assert left == {}
    assert set(evidence.jobs) == set(us.job_ids.values())
    assert set(provider.taken.values()) == {1}
    assert_taken_ran_nowhere_else(provider, evidence)
    booked = Counter((each.job_id, each.kind, each.amount_nanousd) for each in evidence.entries)
    wanted = Counter(
        (job.job_id, "post" if job.charge_nanousd is not None else "void", job.charge_nanousd or 0)
        for job in evidence.jobs.values()
    )
    assert booked == wanted
    assert check.consistent, check.report


async def strike(
    stack: Stack, us, service: str, index: int, action: str, numbers: Iterator[int]
) -> None:
    """Submit jobs into a process until it dies of one; return when that is ready again.

    Of a wave alone it may get too few: whoever claims first takes what there is.
    """

    async def died() -> bool:
        if stack.find(service, index) is None:
            return True
        await us.submit_wave(list(islice(numbers, WAVE // 5)))
        return False

    arm(stack, service, index, action)
    await us.submit_wave(list(islice(numbers, WAVE)))
    await wait_for(died, 60, f"{service} {index} never passed {action}")
    arm(stack, service, index, "")
    await asyncio.to_thread(stack.start_service, service, index, wait=False)
    await wait_until_ready(stack, [(service, index)])


def assert_taken_ran_nowhere_else(provider: Provider, evidence) -> None:
    """A client task is `job-attempt-number`: that attempt is the job's last, and ends with it."""
    tasks = [task.rsplit("-", 2) for task in provider.taken]
    assert len({job_id for job_id, _, _ in tasks}) == len(tasks), "a job was paid in two attempts"
    jobs = evidence.jobs
    assert all(jobs[job_id].attempt == int(attempt) for job_id, attempt, _ in tasks)
    ends = {
        (job.state, job.failure_reason, job.result_text)
        for job in (jobs[job_id] for job_id, _, _ in tasks)
    }
    assert ends == {("completed", None, ANSWER), ("failed", "AMBIGUOUS", None)}, ends
