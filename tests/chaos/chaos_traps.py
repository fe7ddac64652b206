"""Holds what passes a failpoint, and kills the service when enough of it is held there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from chaos_blows import wait_for, wait_until_ready
from chaos_books import Books
from chaos_stack import arm

from weir_local.stack import Stack

SECONDS_TO_CATCH = 60.0


@dataclass(frozen=True, slots=True)
class Trap:
    """One failpoint of one service.

    Attributes:
        hold_seconds: How long what passes is held; less than any deadline behind which it would
            be given up, and than a database waits for an idle transaction.
        caught: Tells how much is held now.
        enough: So much is worth a kill.
    """

    service: str
    failpoint: str
    hold_seconds: float
    caught: Callable[[], Awaitable[int]]
    enough: int

    async def spring(self, stack: Stack) -> int:
        """Wait until enough is held, kill every replica, and start them again.

        Returns:
            How much the kill caught.
        """
        replicas = [(self.service, index) for index in range(stack.replicas.get(self.service, 1))]
        for replica in replicas:
            arm(stack, *replica, f"{self.failpoint}=pause:{self.hold_seconds}")

        async def held() -> int | None:
            count = await self.caught()
            return count if count >= self.enough else None

        try:
            missed = f"{self.failpoint} held less than {self.enough}"
            caught = await wait_for(held, SECONDS_TO_CATCH, missed)
            killing = [asyncio.to_thread(stack.kill, *replica) for replica in replicas]
            await asyncio.gather(*killing)
        finally:
            for replica in replicas:
                arm(stack, *replica, "")
        for replica in replicas:
            await asyncio.to_thread(stack.start_service, *replica, wait=False)
        await wait_until_ready(stack, replicas)
        return caught


class Counts:
    """How much is held where, told by what the databases show of it.

    Args:
        books: Both databases.
        project_id: Whose jobs are counted.
    """

    def __init__(self, books: Books, project_id: str) -> None:
        self._books = books
        self._project_id = project_id

    async def jobs(self) -> int:
        """Return how many jobs there are."""
        return await self._of_jobs("SELECT count(*) FROM jobs WHERE project_id = $1")

    async def completed(self) -> int:
        """Return how many jobs are completed."""
        return await self._of_jobs(
            "SELECT count(*) FROM jobs WHERE project_id = $1 AND state = 'completed'"
        )

    async def in_state(self, state: str, job_ids: Collection[str]) -> int:
        """Return how many of these jobs are in a state."""
        return await self._of_jobs(
            "SELECT count(*) FROM jobs WHERE project_id = $1"
            " AND state = $2 AND job_id = ANY($3::text[])",
            state,
            list(job_ids),
        )

    async def readmitted(self, job_ids: Collection[str]) -> int:
        """Return how many of these jobs have been admitted for a second time."""
        return await self._of_jobs(
            "SELECT count(*) FROM jobs WHERE project_id = $1"
            " AND admission = 2 AND state <> 'admitting' AND job_id = ANY($2::text[])",
            list(job_ids),
        )

    async def just_claimed(self, seconds: float) -> int:
        """Return how many executions began within the last seconds and are not over."""
        return await self._of_jobs(
            "SELECT count(*) FROM attempts JOIN jobs USING (job_id) WHERE project_id = $1"
            " AND attempts.finished_at IS NULL"
            f" AND attempts.started_at > clock_timestamp() - interval '{seconds} s'"
        )

    async def being_sent(self) -> int:
        """Return how many settlements were taken up by a relay and are not noted as sent."""
        return len(await self._unsent("AND s.attempts > 0"))

    async def booked_and_not_sent(self) -> int:
        """Return how many of the unsent settlements are in the ledger."""
        hold_ids = await self._unsent("")
        return await self._of_costs(
            "SELECT count(*) FROM ledger WHERE hold_id = ANY($1::text[])", hold_ids
        )

    async def held_and_not_admitted(self) -> int:
        """Return how many jobs have a hold and do not know it."""
        rows = await self._books.jobs.fetch(
            "SELECT job_id FROM jobs WHERE project_id = $1 AND state = 'admitting'",
            self._project_id,
        )
        return await self._of_costs(
            "SELECT count(*) FROM holds WHERE job_id = ANY($1::text[]) AND state = 'held'",
            [row["job_id"] for row in rows],
        )

    async def open_transactions_of_ledger(self) -> int:
        """Return how many transactions are open at the ledger, those that wait for a row too."""
        return await self._of_costs(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND usename = 'cost_service'"
            " AND (state = 'idle in transaction' OR wait_event_type = 'Lock')"
        )

    async def _unsent(self, condition: str) -> list[str]:
        rows = await self._books.jobs.fetch(
            "SELECT s.hold_id FROM settlements s JOIN jobs USING (job_id)"
            f" WHERE project_id = $1 AND s.sent_at IS NULL {condition}",
            self._project_id,
        )
        return [row["hold_id"] for row in rows]

    async def _of_jobs(self, query: str, *values: object) -> int:
        count: int = await self._books.jobs.fetchval(query, self._project_id, *values)
        return count

    async def _of_costs(self, query: str, *values: object) -> int:
        count: int = await self._books.costs.fetchval(query, *values)
        return count
