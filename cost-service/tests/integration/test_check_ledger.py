"""The ledger checker as an operator runs it, over both services' real tables."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass

import asyncpg
import pytest
from typer.testing import CliRunner

from cost_service.__main__ import app


@dataclass(frozen=True)
class Agreed:
    """A price as job-service stores it with a job."""

    target: str
    model: str
    input_nanousd: int
    output_nanousd: int


class Jobs:
    """job-service's books, written as job-service would."""

    def __init__(self, connection) -> None:
        self.connection = connection

    async def add(self, job_id, state="running", charge=None):
        """A job that ran, or runs; a charged one made a token, which costs more than its hold."""
        await self.connection.execute(
            """
            INSERT INTO jobs (job_id, project_id, kind, type, model, content, scopes, max_retries,
                              origin_request_id, state, attempt, lease_token, lease_expires_at,
                              price_version, prices, hold_nanousd, executed_target, executed_model,
                              tokens_input, tokens_output, charge_nanousd)
            VALUES ($1, 'p1', 'queued', 't', 'm', '{}', '[]', 3, '', $2, 1, 'x', now(), '1', $4,
                    100, 'local', 'm', 1, 0, $3)
            """,
            job_id,
            state,
            charge,
            json.dumps([asdict(Agreed("local", "m", 10**12, 10**12))]),
        )
        await self.connection.execute(
            """
            INSERT INTO attempts (job_id, attempt, admission, outcome, finished_at)
            VALUES ($1, 1, 1, nullif($2, 'running'), CASE WHEN $2 <> 'running' THEN now() END)
            """,
            job_id,
            state,
        )
        await self.connection.execute(
            "INSERT INTO idempotency VALUES ('p1', '/jobs', $1, '', $1)", job_id
        )

    async def sign(self, job_id, charge):
        await self.connection.execute(
            "INSERT INTO receipts VALUES ($1, 1, $2, 'k', '')",
            job_id,
            json.dumps({"charge_nanousd": charge, "model": "a\0b"}),
        )

    async def settle(self, hold_id, kind="post", amount=100, *, sent=True, age="1 second"):
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
    await money.post("posted:1", 100)
    await money.void("voided:1")
    await jobs.add("posted", "completed", 100)
    await jobs.sign("posted", 100)
    await jobs.add("voided", "failed")
    await jobs.add("running")
    await jobs.add("waiting", "completed", 100)
    await jobs.settle("posted:1")
    await jobs.settle("voided:1", "void", 0)
    await jobs.settle("waiting:1", sent=False)


@pytest.fixture
def check_ledger(migrated_database, database, job_database):
    settings = {
        "COLUMNS": "120",
        "AUDIT_COST_DATABASE_URL": migrated_database.audit_url(database),
        "AUDIT_JOB_DATABASE_URL": migrated_database.audit_url(job_database),
    }

    async def run(*arguments, **changes):
        return await asyncio.to_thread(
            CliRunner().invoke,
            app,
            ["check-ledger", *arguments],
            env={name: value or None for name, value in {**settings, **changes}.items()},
        )

    return run


async def test_orderly_books(books, check_ledger):
    """Books in order: exit 0, with the settlement on its way named."""
    done = await check_ledger("--max-age", "600")

    assert done.exit_code == 0, done.output
    assert (
        "4 jobs, 4 attempts, 3 settlements, 4 holds, 2 ledger entries, 1 budgets, 1 in flight"
        in done.stdout
    )
    assert "in flight: in_flight: waiting:1: post 100, for " in done.stdout
    assert done.stdout.endswith("no drift\n")


async def test_drift_is_named(books, money, jobs, check_ledger):
    """Books out of order: exit 1, each drift on a line with its rule and subject."""
    await money.connection.execute("UPDATE budgets SET posted_nanousd = posted_nanousd + 1")
    await jobs.connection.execute("UPDATE settlements SET sent_at = now() WHERE sent_at IS NULL")
    await jobs.connection.execute("DELETE FROM jobs WHERE job_id = 'running'")

    done = await check_ledger("--max-age", "600")

    assert done.exit_code == 1
    assert "drift: posted_matches_ledger: project p1 " in done.stdout
    assert "drift: sent_is_booked: waiting:1: sent post 100, booked nothing" in done.stdout
    assert "drift: open_hold_has_job: running:1: no such job" in done.stdout
    assert "drift: key_has_job: p1 /jobs running: no job running" in done.stdout
    assert done.stdout.count("drift: ") == 4


async def test_drift_within_job_service_is_named(books, jobs, check_ledger):
    """Attempts, keys, receipts and terms are read as job-service writes them."""
    await jobs.connection.execute("UPDATE attempts SET finished_at = NULL WHERE job_id = 'voided'")
    await jobs.connection.execute("DELETE FROM attempts WHERE job_id = 'posted'")
    await jobs.connection.execute("UPDATE jobs SET tokens_input = 0 WHERE job_id = 'waiting'")
    await jobs.connection.execute("UPDATE jobs SET price_version = '0' WHERE job_id = 'running'")
    await jobs.connection.execute("UPDATE idempotency SET job_id = 'x' WHERE key = 'running'")
    await jobs.sign("waiting", 99)

    done = await check_ledger("--max-age", "600", "--json")

    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert {(one["rule"], one["subject"]) for one in report["drifts"]} == {
        ("attempt_closed", "voided"),
        ("charged_attempt_exists", "posted"),
        ("completed_once", "posted"),
        ("charge_matches_usage", "waiting"),
        ("terms_match_hold", "running:1"),
        ("key_has_job", "p1 /jobs running"),
        ("receipt_matches_outbox", "waiting:1"),
    }
    assert report["rules"]["terms_match_hold"] == 2
    assert report["consistent"] is False


async def test_all_must_be_settled(books, check_ledger):
    """--require-settled names each job that is not over and each row that was not sent."""
    done = await check_ledger("--max-age", "600", "--require-settled")

    assert done.exit_code == 1
    assert "drift: job_is_final: running: running in admission 1" in done.stdout
    assert "drift: outbox_is_empty: waiting:1: post 100 not sent for " in done.stdout
    assert done.stdout.count("drift: hold_is_settled: ") == 2
    assert done.stdout.count("drift: ") == 4


async def test_stuck_settlement_is_drift(books, check_ledger):
    """A settlement that is on its way for longer than --max-age is drift."""
    done = await check_ledger("--max-age", "0.5")

    assert done.exit_code == 1
    assert "drift: outbox_moves: waiting:1: not sent for " in done.stdout


@pytest.mark.parametrize("name", ["AUDIT_COST_DATABASE_URL", "AUDIT_JOB_DATABASE_URL"])
async def test_missing_setting_is_named(check_ledger, name):
    """A missing address is named at once."""
    done = await check_ledger(**{name: ""})

    assert done.exit_code == 2
    assert name in done.stderr
