"""Many jobs at once are held at one failpoint, and their service is killed there.

tests/e2e/test_crash_points.py takes one job to each failpoint; here it is the xN of the
requirements at CHAOS_SCALE=20. Every replica of the service dies: nobody is left to take over.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

import aiohttp
import pytest
from chaos_blows import wait_for, wait_until_ready
from chaos_books import Books, open_books
from chaos_client import SubmittingClient, submitting_client
from chaos_traps import Counts, Trap
from chaos_verdict import broken_promises
from chaos_work import LONG_TOKENS, PROMPT

from weir_local.stack import Stack

SCALE = int(os.environ.get("CHAOS_SCALE", "1"))
WAVE = 50
# Held for ever, as far as anybody here waits.
FOR_GOOD = 60.0
# Shorter than a lease, and than Postgres lets a transaction idle.
SHORTLY = 1.9
WITHIN = 1.7

pytestmark = pytest.mark.timeout(1200)


@dataclass
class Victims:
    """Jobs of one test's own project, which run into traps."""

    stack: Stack
    us: SubmittingClient
    books: Books
    counts: Counts = field(init=False)
    _numbers: count[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.counts = Counts(self.books, self.us.project_id)

    async def run_into(self, trap: Trap, total: int) -> int:
        """Send jobs until the trap has caught so many; return in how many kills."""
        caught = kills = 0
        while caught < total:
            wave = [next(self._numbers) for _ in range(WAVE)]
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.us.submit_wave(wave))
                caught += await trap.spring(self.stack)
            kills += 1
            assert await self.books.left_over(90) == {}
        return kills

    async def assert_promises_kept(self) -> None:
        left = await self.books.left_over(90)
        evidence = await self.books.evidence(self.us.project_id)
        check = await asyncio.to_thread(self.stack.check_ledger)
        assert broken_promises(self.us.job_ids, left, evidence, check) == {}


@pytest.fixture
async def victims(chaos_stack, request) -> AsyncIterator[Victims]:
    name = request.node.name.removeprefix("test_").replace("_", "-")[:30]
    async with (
        submitting_client(chaos_stack.gateway_url, name, at_once=WAVE) as us,
        open_books(chaos_stack) as books,
    ):
        yield Victims(chaos_stack, us, books)


async def test_killed_between_claim_and_reply(victims):
    """X-R3: what was claimed by a process that died is claimed again."""

    async def caught() -> int:
        return await victims.counts.just_claimed(WITHIN)

    await victims.run_into(Trap("job-service", "after_claim", SHORTLY, caught, 10), 5 * SCALE)

    await victims.assert_promises_kept()


async def test_killed_between_finish_and_reply(victims):
    """X-R4: what was finished by a process that died is finished, and posted once."""
    base = 0

    async def caught() -> int:
        return await victims.counts.completed() - base

    trap = Trap("job-service", "after_finish_commit", FOR_GOOD, caught, 20)
    for _ in range(-(-5 * SCALE // 20)):
        base = await victims.counts.completed()
        await victims.run_into(trap, 1)

    await victims.assert_promises_kept()


async def test_ledger_killed_around_holds_and_posts(victims):
    """X-R5: holds and posts whose reply was lost are asked for again, and are there once."""
    counts = victims.counts
    around = [
        ("before_hold_commit", SHORTLY, counts.open_transactions_of_ledger, 5, 1),
        ("after_hold_commit", 4.0, counts.held_and_not_admitted, 10, 4),
        ("before_post_commit", SHORTLY, counts.open_transactions_of_ledger, 5, 1),
        ("after_post_commit", 4.0, counts.booked_and_not_sent, 10, 4),
    ]
    for failpoint, hold_seconds, caught, enough, share in around:
        trap = Trap("cost-service", failpoint, hold_seconds, caught, enough)
        await victims.run_into(trap, share * SCALE)

    await victims.assert_promises_kept()


async def test_relay_killed(victims):
    """X-R8: a settlement is sent at least once, and booked once."""
    counts = victims.counts
    for failpoint, caught in (
        ("before_settlement_post", counts.being_sent),
        ("after_settlement_post", counts.booked_and_not_sent),
    ):
        # Meanwhile more waits: the next batch of each relay is as large as it can be.
        trap = Trap("job-service", failpoint, 3.0, caught, 8)
        await victims.run_into(trap, 5 * SCALE // 2)

    await victims.assert_promises_kept()


async def test_gateway_killed_in_mid_submit(victims):
    """X-R6: who saw no answer asks again with its key, and gets the job that it made."""
    for number in range(SCALE):
        base = await victims.counts.jobs()

        async def caught(base: int = base) -> int:
            return await victims.counts.jobs() - base

        trap = Trap("gateway", "after_job_created", FOR_GOOD, caught, 20)
        assert await victims.run_into(trap, 1) == 1, number
    assert len(victims.us.job_ids) == WAVE * SCALE

    await victims.assert_promises_kept()


async def test_gateway_killed_in_mid_stream(victims):
    """X-R7: a job whose caller's gateway died stops, is charged for what it made, and is over."""
    streams, at_once = 10 * SCALE, min(50, 10 * SCALE)
    for _ in range(streams // at_once):
        async with streaming(victims.us.session, at_once) as begun:
            await wait_for(begun, 60, "not every stream began")
            await asyncio.to_thread(victims.stack.kill, "gateway")
        await asyncio.to_thread(victims.stack.start_service, "gateway", wait=False)
        await wait_until_ready(victims.stack, [("gateway", 0)])
    assert await victims.books.left_over(90) == {}

    evidence = await victims.books.evidence(victims.us.project_id)
    jobs = evidence.jobs.values()
    assert len(evidence.jobs) == streams
    assert {job.state for job in jobs} <= {"cancelled", "completed"}
    booked = Counter((entry.job_id, entry.amount_nanousd) for entry in evidence.entries)
    assert booked == Counter((job.job_id, job.charge_nanousd or 0) for job in jobs)
    check = await asyncio.to_thread(victims.stack.check_ledger)
    assert check.consistent, check.report


@asynccontextmanager
async def streaming(session: aiohttp.ClientSession, number: int):
    """Open so many streams; give a check of whether all have said a word; wait for their end."""
    spoken = 0

    async def read() -> None:
        nonlocal spoken
        body = {
            "model": "auto",
            "messages": [{"role": "user", "content": PROMPT}],
            "max_tokens": LONG_TOKENS,
            "stream": True,
        }
        try:
            async with session.post("/v1/chat/completions", json=body) as answer:
                assert answer.status == 200, await answer.text()
                first = True
                async for line in answer.content:
                    if first and b"word" in line:
                        first, spoken = False, spoken + 1
        except aiohttp.ClientError:
            return

    async def all_spoke() -> bool:
        return spoken == number

    async with asyncio.TaskGroup() as tasks:
        for _ in range(number):
            tasks.create_task(read())
        yield all_spoke
