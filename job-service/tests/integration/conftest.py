"""Real Postgres behind the ports, with the same handles for tests as the fake store."""

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import pytest
from job_fakes import LEASE_SECONDS, FakeStore, World, until
from service_client import answers, client_of
from sqlalchemy import event, text
from stand_ins import standing_in

from job_service.adapters.tables import jobs, metadata
from job_service.adapters.unit_of_work import PostgresUnitOfWork
from job_service.bootstrap import job_service
from job_service.domain.settlement import SettlementKind
from job_service.settings import Settings
from service_kit.database import open_engine, sessions
from service_kit.signatures import SigningKey
from service_kit.testing.pki import make_test_pki
from service_kit.testing.tokens import TestIssuer

SERVICES = ("gateway", "auth-service", "job-service", "cost-service", "compute-router")


class PostgresStore(PostgresUnitOfWork):
    """The real unit of work, and what tests look at and turn."""

    def __init__(self, engine, connection):
        super().__init__(sessions(engine), LEASE_SECONDS)
        self.engine = engine
        self._connection = connection

    async def stored(self, job_id):
        async with self() as work:
            return await work.jobs.lock(job_id)

    async def lapse(self, job_id):
        await self._connection.execute(
            "UPDATE jobs SET lease_expires_at = now() - interval '1 second' WHERE job_id = $1",
            job_id,
        )

    async def make_due(self, job_id):
        await self._connection.execute(
            "UPDATE jobs SET available_at = now() WHERE job_id = $1", job_id
        )

    async def spread(self, job_id, count):
        """Copy a job into so many other projects."""
        kept = {"job_id", "project_id"}
        others = ", ".join(column.name for column in jobs.c if column.name not in kept)
        await self._connection.execute(
            f"INSERT INTO jobs (job_id, project_id, {others})"
            f" SELECT job_id || '-' || number, project_id || '-' || number, {others}"
            " FROM jobs, generate_series(1, $2) number WHERE job_id = $1",
            job_id,
            count,
        )

    async def flood(self, job_id, count):
        others = ", ".join(column.name for column in jobs.c if column.name != "job_id")
        await self._connection.execute(
            f"INSERT INTO jobs (job_id, {others}) SELECT job_id || '-' || number, {others}"
            " FROM jobs, generate_series(1, $2) number WHERE job_id = $1",
            job_id,
            count,
        )

    async def analyze(self):
        await self._connection.execute("ANALYZE jobs")

    async def rows_looked_at(self, statement, values):
        """Return how many rows of jobs a statement looks at, and undo what it did."""
        async with sessions(self.engine)() as session:
            plan = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}")
            found = await session.scalar(plan, values)
            await session.rollback()
        return _rows_looked_at(found[0]["Plan"])

    async def held_up(self, statement, values, meanwhile):
        """Run a statement that waits for advisory lock 7, and something else while it does.

        Return the rows that it gives, and what came of the other.
        """
        await self._connection.execute("SELECT pg_advisory_lock(7)")
        late = asyncio.create_task(self._rows(statement, values))
        await until(self._somebody_waits)
        other = await meanwhile()
        await self._connection.execute("SELECT pg_advisory_unlock(7)")
        return await late, other

    async def _rows(self, statement, values):
        async with sessions(self.engine).begin() as session:
            return (await session.execute(text(statement), values)).all()

    async def _somebody_waits(self):
        return await self._connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"
        )

    async def age_blocked(self, job_id, seconds):
        await self._connection.execute(
            "UPDATE jobs SET blocked_at = blocked_at - $2::interval WHERE job_id = $1",
            job_id,
            timedelta(seconds=seconds),
        )

    async def seconds_until_due(self, job_id):
        return await self._connection.fetchval(
            "SELECT extract(epoch FROM available_at - now())::float FROM jobs WHERE job_id = $1",
            job_id,
        )

    async def events_of(self, job_id):
        rows = await self._connection.fetch(
            "SELECT seq, type FROM lifecycle_events WHERE job_id = $1 ORDER BY seq", job_id
        )
        assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
        return [row["type"] for row in rows]

    async def attempts_of(self, job_id):
        rows = await self._connection.fetch(
            "SELECT *, dispatched_at IS NOT NULL AND released_at IS NULL AS dispatched"
            " FROM attempts WHERE job_id = $1 ORDER BY attempt",
            job_id,
        )
        return [dict(row) for row in rows]

    async def settlements(self):
        rows = await self._connection.fetch("SELECT * FROM settlements")
        return {
            row["hold_id"]: (
                SettlementKind(row["kind"]),
                row["amount_nanousd"],
                row["sent_at"] is not None,
            )
            for row in rows
        }

    async def make_settlement_due(self, hold_id):
        await self._connection.execute(
            "UPDATE settlements SET next_attempt_at = now() WHERE hold_id = $1", hold_id
        )

    async def age_settlement(self, hold_id, seconds):
        await self._connection.execute(
            "UPDATE settlements SET sent_at = now() - $2::interval WHERE hold_id = $1",
            hold_id,
            timedelta(seconds=seconds),
        )

    async def audited(self):
        rows = await self._connection.fetch("SELECT * FROM audit_entries ORDER BY entry_id")
        return [(row["action"], row["actor"], row["subject"]) for row in rows]

    async def keys(self):
        rows = await self._connection.fetch("SELECT key, job_id FROM idempotency")
        return {row["key"]: row["job_id"] for row in rows}


def _rows_looked_at(plan):
    """Sum up what each scan of jobs gave out and what it left aside."""
    rows = sum(_rows_looked_at(part) for part in plan.get("Plans", ()))
    if plan.get("Relation Name") == "jobs" and plan["Node Type"].endswith("Scan"):
        seen = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
        rows += seen * plan["Actual Loops"]
    return rows


@pytest.fixture(scope="session")
def job_database(migrated_database):
    """The addresses of one database for all tests: for the service, and for the superuser."""
    url = migrated_database("job_service")
    return url, migrated_database.superuser_url(url)


@pytest.fixture
async def postgres_store(job_database):
    url, superuser_url = job_database
    connection = await asyncpg.connect(superuser_url)
    # Only the superuser can empty the append-only ones. It takes a tenth of what TRUNCATE takes,
    # which makes new files for each table and index.
    deletes = ";".join(f"DELETE FROM {table}" for table in metadata.tables)
    await connection.execute(
        f"SET session_replication_role = replica; {deletes};SET session_replication_role = DEFAULT"
    )
    engine = open_engine(url, application_name="test", pool_size=20, pool_timeout=10.0)

    @event.listens_for(engine.sync_engine, "do_connect")
    def be_patient(dialect, record, arguments, options):
        # Twenty connect at once, on a busy machine.
        options["timeout"] = 30

    yield PostgresStore(engine, connection)
    await engine.dispose()
    await connection.close()


@pytest.fixture(params=["fake", "postgres"])
def store(request):
    """Every test of the suite runs on both."""
    if request.param == "fake":
        return FakeStore()
    return request.getfixturevalue("postgres_store")


@pytest.fixture
def world(store):
    """The use cases over either store; everything else is faked."""
    return World(store)


# The whole service in this process.


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    return make_test_pki(tmp_path_factory.mktemp("pki"), SERVICES)


@pytest.fixture(scope="session")
def receipt_key_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "receipt-signing.pem"
    SigningKey.load_or_create(path)
    return path


@pytest.fixture
def issuer():
    return TestIssuer()


@pytest.fixture
async def others(pki, issuer):
    async with standing_in(pki, issuer) as found:
        yield found


@pytest.fixture
def settings(others, pki, postgres_store, job_database, redis_url, receipt_key_file):
    """Settings for a service of which nothing was seen yet; its tables are empty."""

    def make(**changes):
        values = {
            "environment": "test",
            "database_url": job_database[0],
            "redis_url": redis_url,
            "auth_service_addresses": others.addresses["auth-service"],
            "cost_service_addresses": others.addresses["cost-service"],
            "compute_router_addresses": others.addresses["compute-router"],
            "tls_ca_file": pki["job-service"].ca_file,
            "tls_cert_file": pki["job-service"].cert_file,
            "tls_key_file": pki["job-service"].key_file,
            "receipt_signing_key_file": receipt_key_file,
            "lease_seconds": 2,
            "lease_renew_seconds": 0.3,
            "poll_seconds": 0.1,
            "retry_backoff_seconds": 0.1,
            "target_refresh_seconds": 0.2,
            "drain_seconds": 2,
        }
        return Settings(**{**values, **changes})

    return make


@pytest.fixture
def service(settings, pki, issuer):
    """Open the service and give a client of it, as the gateway calls it for user-1."""

    @asynccontextmanager
    async def opened(**changes):
        async with job_service(settings(**changes)) as port:
            address = f"127.0.0.1:{port}"
            async with client_of(address, pki["gateway"], issuer) as client:
                await until(lambda: answers(client))
                yield client

    return opened
