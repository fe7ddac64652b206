"""Integration tests keep everything in an empty database of a real Postgres."""

import asyncpg
import pytest
from sqlalchemy import text

from auth_service.adapters.tables import metadata
from auth_service.adapters.unit_of_work import PostgresUnitOfWork
from service_kit.database import open_engine, sessions
from service_kit.scheduled_runs import PostgresRuns


@pytest.fixture(scope="session")
def one_database_url(migrated_database):
    return migrated_database("auth_service")


@pytest.fixture
async def database_url(one_database_url, migrated_database):
    """An empty database. It is the same one each time, because making one takes a second."""
    connection = await asyncpg.connect(migrated_database.superuser_url(one_database_url))
    # Without triggers, or the audit log would keep its rows.
    await connection.execute("SET session_replication_role = replica")
    for table in metadata.tables:
        await connection.execute(f'DELETE FROM "{table}"')
    await connection.close()
    return one_database_url


@pytest.fixture
async def engine(database_url):
    engine = open_engine(database_url, application_name="auth-service-tests", pool_timeout=10)
    yield engine
    await engine.dispose()


@pytest.fixture
def postgres_unit_of_work(engine):
    return PostgresUnitOfWork(sessions(engine))


@pytest.fixture
def unit_of_work(postgres_unit_of_work):
    return postgres_unit_of_work


@pytest.fixture
def runs(engine):
    return PostgresRuns(engine)


@pytest.fixture
def rows(engine):
    """Read rows as they are in the database."""

    async def read(query, **values):
        async with engine.connect() as connection:
            return (await connection.execute(text(query), values)).all()

    return read
