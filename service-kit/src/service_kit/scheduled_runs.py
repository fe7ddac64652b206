"""The runs of periodic work: rows of which one replica at a time holds the lease.

Each service has such a table in its own database, made by its own migration.
The database's clock decides what is due and which lease has lapsed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Column, DateTime, Double, Integer, MetaData, Table, Text, Uuid, text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.database import autocommit_sessions, transaction
from service_kit.schedule import Run, RunOutcome, ScheduledTask, TaskStatus

# Runs that are over are kept so long, for whoever asks what happened.
KEPT: Final = timedelta(days=7)


def scheduled_runs_table(metadata: MetaData) -> Table:
    """Return the table `scheduled_runs`, as a service's migration has to make it."""
    moment = DateTime(timezone=True)
    return Table(
        "scheduled_runs",
        metadata,
        Column("task", Text, primary_key=True),
        Column("due_at", moment, primary_key=True),
        # Another one with each claim: who comes late finishes nothing.
        Column("token", Uuid(as_uuid=False), nullable=False),
        Column("claimed_by", Text, nullable=False),
        Column("attempt", Integer, nullable=False),
        Column("started_at", moment, nullable=False),
        Column("lease_expires_at", moment, nullable=False),
        Column("finished_at", moment),
        Column("duration_seconds", Double),
        Column("outcome", Text),
        Column("error", Text),
    )


@dataclass(frozen=True, slots=True)
class Claim:
    """A replica's wish to run a task that is due. The token is what it finishes the run with."""

    task: str
    due_at: datetime
    token: str
    claimed_by: str
    lease: timedelta


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended, after how long."""

    outcome: RunOutcome
    duration_seconds: float
    error: str | None = None


_FIND: Final = text("""
    SELECT *, finished_at IS NULL AND lease_expires_at <= now() AS lapsed
    FROM scheduled_runs WHERE task = :task AND due_at = :due_at
""")

# Two that come at once meet in the primary key: the second waits, and finds a fresh lease.
_CLAIM: Final = text("""
    INSERT INTO scheduled_runs AS run
        (task, due_at, token, claimed_by, attempt, started_at, lease_expires_at)
    SELECT :task, :due_at, :token, :claimed_by, 1, now(), now() + :lease
    WHERE NOT EXISTS (
        SELECT FROM scheduled_runs
        WHERE task = :task AND due_at <> :due_at
          AND finished_at IS NULL AND lease_expires_at > now()
    )
    ON CONFLICT (task, due_at) DO UPDATE SET
        token = excluded.token, claimed_by = excluded.claimed_by, attempt = run.attempt + 1,
        started_at = excluded.started_at, lease_expires_at = excluded.lease_expires_at
    WHERE run.finished_at IS NULL AND run.lease_expires_at <= now()
      AND run.attempt < :max_attempts
    RETURNING attempt
""")

_FINISH: Final = text("""
    WITH forgotten AS (DELETE FROM scheduled_runs WHERE task = :task AND due_at < :before)
    UPDATE scheduled_runs
    SET finished_at = now(), outcome = :outcome, duration_seconds = :duration_seconds,
        error = :error
    WHERE task = :task AND due_at = :due_at AND token = :token AND finished_at IS NULL
""")

_HAND_BACK: Final = text("""
    UPDATE scheduled_runs SET lease_expires_at = now() + :pause, error = :error
    WHERE task = :task AND due_at = :due_at AND token = :token AND finished_at IS NULL
""")

_ABANDON: Final = text("""
    UPDATE scheduled_runs
    SET finished_at = now(), outcome = :outcome, error = coalesce(error, 'Nobody finished it.')
    WHERE task = :task AND finished_at IS NULL AND lease_expires_at <= now()
      AND (due_at < :due_at OR attempt >= :max_attempts)
""")

_LAST_RUNS: Final = text("""
    SELECT DISTINCT ON (task) *, false AS lapsed FROM scheduled_runs
    WHERE finished_at IS NOT NULL ORDER BY task, due_at DESC
""")

_UNDER_WAY: Final = text("""
    SELECT task, max(started_at) AS since FROM scheduled_runs
    WHERE finished_at IS NULL AND lease_expires_at > now() GROUP BY task
""")


class PostgresRuns:
    """Keeps the runs; each step is one statement. Every method may raise `Unavailable`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._sessions = autocommit_sessions(engine)

    async def now(self) -> datetime:
        """Return the time by the clock that all replicas share."""
        async with transaction(self._sessions) as session:
            now: datetime = (await session.execute(text("SELECT clock_timestamp()"))).scalar_one()
        return now

    async def find(self, task: str, due_at: datetime) -> Run | None:
        """Return the run of a task at a due time, if anybody claimed it."""
        async with transaction(self._sessions) as session:
            row = (await session.execute(_FIND, {"task": task, "due_at": due_at})).one_or_none()
        return None if row is None else _run(row)

    async def claim(self, claim: Claim, max_attempts: int) -> int | None:
        """Take a run and return the number of this attempt; `None` where it is not to be had.

        Who is first gets it, and whoever is first after its lease has lapsed, until it had
        its attempts. Nobody does while another run of the task is under way.
        """
        values = {
            **_key(claim),
            "claimed_by": claim.claimed_by,
            "lease": claim.lease,
            "max_attempts": max_attempts,
        }
        async with transaction(self._sessions) as session:
            attempt: int | None = (await session.execute(_CLAIM, values)).scalar_one_or_none()
        return attempt

    async def finish(self, claim: Claim, ending: Ending) -> bool:
        """Say how a run ended, and tell whether it was still ours to say.

        Runs of the task that are long over are forgotten.
        """
        values = {
            **_key(claim),
            "outcome": ending.outcome,
            "duration_seconds": ending.duration_seconds,
            "error": ending.error,
            "before": claim.due_at - KEPT,
        }
        return bool(await self._change(_FINISH, values))

    async def hand_back(self, claim: Claim, pause: timedelta, error: str) -> bool:
        """Let somebody try a run again after a pause, and tell whether it was still ours."""
        return bool(await self._change(_HAND_BACK, {**_key(claim), "pause": pause, "error": error}))

    async def abandon(self, task: str, due_at: datetime, max_attempts: int) -> int:
        """End the lapsed runs of a task that nobody will take again, and return their number.

        Those are the ones due before `due_at`, and those that had their attempts.
        """
        values = {
            "task": task,
            "due_at": due_at,
            "max_attempts": max_attempts,
            "outcome": RunOutcome.ABANDONED,
        }
        return await self._change(_ABANDON, values)

    async def statuses(self, tasks: Sequence[ScheduledTask]) -> Sequence[TaskStatus]:
        """Return what there is to know of these tasks, in their order."""
        now = await self.now()
        async with transaction(self._sessions) as session:
            last = {row.task: _run(row) for row in await session.execute(_LAST_RUNS)}
            since = {row.task: row.since for row in await session.execute(_UNDER_WAY)}
        return [
            TaskStatus(
                task=task.name,
                schedule=str(task.schedule),
                next_due_at=task.schedule.next_due(now),
                running_since=since.get(task.name),
                last_run=last.get(task.name),
            )
            for task in tasks
        ]

    async def _change(self, statement: Any, values: Mapping[str, object]) -> int:
        async with transaction(self._sessions) as session:
            done = await session.execute(statement, values)
        return int(done.rowcount)  # type: ignore[attr-defined]


def _key(claim: Claim) -> dict[str, object]:
    return {"task": claim.task, "due_at": claim.due_at, "token": claim.token}


def _run(row: Row[Any]) -> Run:
    return Run(
        task=row.task,
        due_at=row.due_at,
        attempt=row.attempt,
        started_at=row.started_at,
        finished_at=row.finished_at,
        duration_seconds=row.duration_seconds,
        outcome=None if row.outcome is None else RunOutcome(row.outcome),
        error=row.error,
        lapsed=row.lapsed,
    )
