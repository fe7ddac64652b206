"""Real Postgres behind the ports, with the same handles for tests as the fake store."""

from datetime import timedelta

import asyncpg
import pytest
from job_fakes import LEASE_SECONDS, FakeStore, World

from job_service.adapters.tables import metadata
from job_service.adapters.unit_of_work import PostgresUnitOfWork
from job_service.domain.settlement import SettlementKind
from service_kit.database import open_engine, sessions


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

    async def keys(self):
        rows = await self._connection.fetch("SELECT key, job_id FROM idempotency")
        return {row["key"]: row["job_id"] for row in rows}


@pytest.fixture(scope="session")
def job_database(migrated_database):
    """The addresses of one database for all tests: for the service, and for the superuser."""
    url = migrated_database("job_service")
    return url, migrated_database.superuser_url(url)


@pytest.fixture
async def postgres_store(job_database):
    url, superuser_url = job_database
    connection = await asyncpg.connect(superuser_url)
    await connection.execute(f"TRUNCATE {', '.join(metadata.tables)}")
    engine = open_engine(url, application_name="test", pool_size=20, pool_timeout=10.0)
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
