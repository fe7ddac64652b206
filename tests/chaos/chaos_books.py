"""Reads the two databases: what runs now, and in the end what became of everything."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from weir_local.stack import Stack

_RUNNING = """
    SELECT clock_timestamp() AS at, job_id, attempt FROM jobs WHERE state = 'running'
"""
_LEFT = "SELECT count(*) FROM jobs WHERE completed_at IS NULL"
_UNSENT = "SELECT count(*) FROM settlements WHERE sent_at IS NULL"
_HELD = "SELECT count(*) FROM holds WHERE state = 'held'"
_JOBS = """
    SELECT job_id, state, attempt, result_text, tokens_output, charge_nanousd, failure_reason
    FROM jobs WHERE project_id = $1
"""
_KEYS = "SELECT key, job_id FROM idempotency WHERE project_id = $1"
_ATTEMPTS = "SELECT job_id, attempt, started_at, finished_at, outcome, error FROM attempts"
_ENTRIES = "SELECT job_id, kind, amount_nanousd FROM ledger"


@dataclass(frozen=True, slots=True)
class Running:
    """The work that was under way at one moment of the database's clock."""

    at: datetime
    attempts: frozenset[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Job:
    job_id: str
    state: str
    attempt: int
    result_text: str | None
    tokens_output: int | None
    charge_nanousd: int | None
    failure_reason: str | None


@dataclass(frozen=True, slots=True)
class Attempt:
    job_id: str
    attempt: int
    started_at: datetime
    finished_at: datetime | None
    outcome: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Entry:
    job_id: str
    kind: str
    amount_nanousd: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything the two services have written about a project."""

    jobs: dict[str, Job]
    keys: dict[str, str]
    attempts: list[Attempt]
    entries: list[Entry]


class Books:
    """The databases of job-service and cost-service, read by somebody else."""

    def __init__(self, jobs: asyncpg.Pool, costs: asyncpg.Pool) -> None:
        self._jobs = jobs
        self._costs = costs

    async def running(self) -> Running | None:
        """Return what runs now; `None` if nothing does."""
        rows = await self._jobs.fetch(_RUNNING)
        if not rows:
            return None
        return Running(rows[0]["at"], frozenset((row["job_id"], row["attempt"]) for row in rows))

    async def wait_until_over(self, seconds: float) -> None:
        """Return when no job is left, no settlement unsent and no hold open."""
        deadline = time.monotonic() + seconds
        while True:
            left = {
                "jobs": await self._jobs.fetchval(_LEFT),
                "unsent settlements": await self._jobs.fetchval(_UNSENT),
                "open holds": await self._costs.fetchval(_HELD),
            }
            if not any(left.values()):
                return
            assert time.monotonic() < deadline, f"not over after {seconds:.0f} s: {left}"
            await asyncio.sleep(0.1)

    async def evidence(self, project_id: str) -> Evidence:
        """Return everything that was written."""
        jobs = [Job(**row) for row in await self._jobs.fetch(_JOBS, project_id)]
        keys = await self._jobs.fetch(_KEYS, project_id)
        return Evidence(
            jobs={job.job_id: job for job in jobs},
            keys={row["key"]: row["job_id"] for row in keys},
            attempts=[Attempt(**row) for row in await self._jobs.fetch(_ATTEMPTS)],
            entries=[Entry(**row) for row in await self._costs.fetch(_ENTRIES)],
        )


@asynccontextmanager
async def open_books(stack: Stack) -> AsyncIterator[Books]:
    """Connect to both databases until the block is left."""
    async with AsyncExitStack() as connections:

        async def connect(service: str) -> asyncpg.Pool:
            url = stack.database_url(service)
            return await connections.enter_async_context(
                asyncpg.create_pool(url, min_size=1, max_size=2)
            )

        yield Books(await connect("job-service"), await connect("cost-service"))
