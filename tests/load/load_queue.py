"""Queued jobs, from the first submission until the last one is in the ledger."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import asyncpg
from load_generator import Load, Measured
from load_ladder import run
from load_stack import Weir

SECONDS_TO_SETTLE = 120.0
_LEFT = """
    SELECT (SELECT count(*) FROM jobs WHERE completed_at IS NULL)
         + (SELECT count(*) FROM settlements WHERE sent_at IS NULL)
"""
_COMPLETED = "SELECT count(*) FROM jobs WHERE created_at >= $1 AND state = 'completed'"
_LAST_POST = "SELECT max(created_at) FROM ledger"
_FIRST_JOB = "SELECT min(created_at) FROM jobs WHERE created_at >= $1"
_NOW = "SELECT clock_timestamp()"


@dataclass(frozen=True, slots=True)
class Settled:
    """How fast jobs went through.

    Attributes:
        jobs: How many completed.
        submitting: What the clients saw.
        seconds: From the first job's row to the last job's entry in the ledger, by the
            database's clock.
    """

    jobs: int
    clients: int
    submitting: Measured
    seconds: float

    @property
    def per_second(self) -> float:
        return self.jobs / self.seconds


async def queue_and_settle(weir: Weir, jobs: int, clients: int) -> Settled:
    """Submit jobs and wait until each is completed and posted.

    Raises:
        TimeoutError: They were not all settled in time.
    """
    load = Load(
        f"{weir.gateway_url}/api/v1/jobs",
        clients,
        requests=jobs,
        method="POST",
        headers={"authorization": f"Bearer {weir.api_key}"},
        body={"type": "generation_v2", "payload": {"prompt": "Count.", "max_tokens": 64}},
        expected=202,
    )
    job_books = await asyncpg.connect(weir.jobs_database_url)
    ledger = await asyncpg.connect(weir.ledger_database_url)
    try:
        await _until_quiet(job_books)
        before = await job_books.fetchval(_NOW)
        submitting = await run(load)
        await _until_quiet(job_books)
        first = await job_books.fetchval(_FIRST_JOB, before)
        last = await ledger.fetchval(_LAST_POST)
        completed = await job_books.fetchval(_COMPLETED, before)
    finally:
        await job_books.close()
        await ledger.close()
    return Settled(completed, clients, submitting, (last - first).total_seconds())


async def _until_quiet(job_books: asyncpg.Connection) -> None:
    """Return when every job is final and every settlement was sent."""
    deadline = time.monotonic() + SECONDS_TO_SETTLE
    while left := await job_books.fetchval(_LEFT):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{left} jobs were not settled within {SECONDS_TO_SETTLE:.0f} s")
        await asyncio.sleep(0.05)
