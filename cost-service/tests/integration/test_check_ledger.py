"""The ledger checker as an operator runs it, over both services' real tables."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import asyncpg
import pytest


class Jobs:
    """job-service's books, written as job-service would."""

    def __init__(self, connection) -> None:
        self.connection = connection

    async def add(self, job_id, state="running", charge=None):
        await self.connection.execute(
            """
            INSERT INTO jobs (job_id, project_id, kind, type, model, content, scopes, max_retries,
                              origin_request_id, state, lease_token, lease_expires_at,
                              hold_nanousd, charge_nanousd)
            VALUES ($1, 'p1', 'queued', 't', 'm', '{}', '[]', 3, '', $2, 'x', now(), 100, $3)
            """,
            job_id,
            state,
            charge,
        )

    async def settle(self, hold_id, kind="post", amount=60, *, sent=True, age="1 second"):
        await self.connection.execute(
            f"""
            INSERT INTO settlements (hold_id, job_id, kind, amount_nanousd, scopes, outcome,
                                     created_at, sent_at)
            VALUES ($1, split_part($1, ':', 1), $2, $3, '[]', '{{}}',
                    now() - interval '{age}', CASE WHEN $4 THEN now() END)
            """,
            hold_id,
            kind,
            amount,
            sent,
        )


@pytest.fixture
def job_database(migrated_database):
    return migrated_database("job_service")


@pytest.fixture
async def jobs(job_database):
    connection = await asyncpg.connect(job_database)
    yield Jobs(connection)
    await connection.close()


@pytest.fixture
async def books(money, jobs):
    """A posted, a voided, a running job, and one whose settlement is on its way."""
    for job_id in ("posted", "voided", "running", "waiting"):
        await money.hold(f"{job_id}:1", 100)
    await money.post("posted:1", 60)
    await money.void("voided:1")
    await jobs.add("posted", "completed", 60)
    await jobs.add("voided", "failed")
    await jobs.add("running")
    await jobs.add("waiting", "completed", 70)
    await jobs.settle("posted:1")
    await jobs.settle("voided:1", "void", 0)
    await jobs.settle("waiting:1", amount=70, sent=False)


@pytest.fixture
def check_ledger(migrated_database, database, job_database):
    settings = {
        "PATH": "/usr/bin:/bin",
        "COLUMNS": "120",
        "AUDIT_COST_DATABASE_URL": migrated_database.audit_url(database),
        "AUDIT_JOB_DATABASE_URL": migrated_database.audit_url(job_database),
    }

    async def run(*arguments, **changes):
        return await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "cost_service", "check-ledger", *arguments],
            env={name: value for name, value in {**settings, **changes}.items() if value},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


async def test_orderly_books(books, check_ledger):
    """Books in order: exit 0, with the settlement on its way named."""
    done = await check_ledger("--max-age", "600")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 jobs, 3 settlements, 4 holds, 2 ledger entries, 1 budgets, 1 in flight" in done.stdout
    assert "in flight: in_flight: waiting:1: post 70, for " in done.stdout
    assert done.stdout.endswith("no drift\n")


async def test_drift_is_named(books, money, jobs, check_ledger):
    """Books out of order: exit 1, each drift on a line with its rule and subject."""
    await money.connection.execute("UPDATE budgets SET posted_nanousd = posted_nanousd + 1")
    await jobs.connection.execute("UPDATE settlements SET sent_at = now() WHERE sent_at IS NULL")
    await jobs.connection.execute("DELETE FROM jobs WHERE job_id = 'running'")

    done = await check_ledger("--max-age", "600")

    assert done.returncode == 1
    assert "drift: posted_matches_ledger: project p1 " in done.stdout
    assert "drift: sent_is_booked: waiting:1: sent post 70, booked nothing" in done.stdout
    assert "drift: open_hold_has_job: running:1: no such job" in done.stdout
    assert done.stdout.count("drift: ") == 3


async def test_stuck_settlement_is_drift(books, check_ledger):
    """A settlement that is on its way for longer than --max-age is drift."""
    done = await check_ledger("--max-age", "0.5")

    assert done.returncode == 1
    assert "drift: outbox_moves: waiting:1: not sent for " in done.stdout


@pytest.mark.parametrize("name", ["AUDIT_COST_DATABASE_URL", "AUDIT_JOB_DATABASE_URL"])
async def test_missing_setting_is_named(check_ledger, name):
    """A missing address is named at once."""
    done = await check_ledger(**{name: ""})

    assert done.returncode == 2
    assert name in done.stderr
