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
_LEFT = "SELECT count(*) FROM jobs WHERE completed_at IS NULL AND state <> 'blocked'"
_UNSENT = "SELECT count(*) FROM settlements WHERE sent_at IS NULL"
_HELD = "SELECT count(*) FROM holds WHERE state = 'held'"
_JOBS = """
    SELECT job_id, state, admission, attempt, result_text, tokens_output, charge_nanousd,
           failure_reason
    FROM jobs WHERE project_id = $1
"""
_KEYS = "SELECT key, job_id FROM idempotency WHERE project_id = $1 AND route = 'CreateJob'"
_ATTEMPTS = """
    SELECT job_id, attempt, started_at, finished_at, outcome, error
    FROM attempts JOIN (SELECT job_id FROM jobs WHERE project_id = $1) j USING (job_id)
"""
_ENTRIES = "SELECT job_id, kind, amount_nanousd FROM ledger WHERE project_id = $1"


@dataclass(frozen=True, slots=True)
class Running:
    """The work that was under way at one moment of the database's clock."""

    at: datetime
    attempts: frozenset[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Job:
    job_id: str
    state: str
    admission: int
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
    """Everything the two services have written about a project; keys are those of submissions."""

    jobs: dict[str, Job]
    keys: dict[str, str]
    attempts: list[Attempt]
    entries: list[Entry]


class Books:
    """The databases of job-service and cost-service, read by somebody else."""

    def __init__(self, jobs: asyncpg.Pool, costs: asyncpg.Pool) -> None:
        self.jobs = jobs
        self.costs = costs

    async def now(self) -> datetime:
        """Return the database's clock."""
        moment: datetime = await self.jobs.fetchval("SELECT clock_timestamp()")
        return moment

    async def running(self) -> Running | None:
        """Return what runs now; `None` if nothing does."""
        rows = await self.jobs.fetch(_RUNNING)
        if not rows:
            return None
        return Running(rows[0]["at"], frozenset((row["job_id"], row["attempt"]) for row in rows))

    async def left_over(self, seconds: float) -> dict[str, int]:
        """Return what is not over after so long: jobs, unsent settlements, open holds.

        Returns at once when nothing is. A job that is blocked on its budget is not waited for.
        """
        deadline = time.monotonic() + seconds
        while True:
            left = await self._left()
            if not any(left.values()) or time.monotonic() > deadline:
                return {name: count for name, count in left.items() if count}
            await asyncio.sleep(0.1)

    async def _left(self) -> dict[str, int]:
        return {
            "jobs": await self.jobs.fetchval(_LEFT),
            "unsent settlements": await self.jobs.fetchval(_UNSENT),
            "open holds": await self.costs.fetchval(_HELD),
        }

    async def evidence(self, project_id: str) -> Evidence:
        """Return everything that was written."""
        jobs = [Job(**row) for row in await self.jobs.fetch(_JOBS, project_id)]
        keys = await self.jobs.fetch(_KEYS, project_id)
        attempts = await self.jobs.fetch(_ATTEMPTS, project_id)
        entries = await self.costs.fetch(_ENTRIES, project_id)
        return Evidence(
            jobs={job.job_id: job for job in jobs},
            keys={row["key"]: row["job_id"] for row in keys},
            attempts=[Attempt(**row) for row in attempts],
            entries=[Entry(**row) for row in entries],
        )


@asynccontextmanager
async def open_books(stack: Stack) -> AsyncIterator[Books]:
    """Connect to both databases until the block is left."""
    async with AsyncExitStack() as connections:

        async def connect(service: str) -> asyncpg.Pool:
            url = stack.database_url(service)
            # Connections that a crash of Postgres cut are made anew by the pool.
            return await connections.enter_async_context(
                asyncpg.create_pool(url, min_size=1, max_size=2)
            )

        yield Books(await connect("job-service"), await connect("cost-service"))
