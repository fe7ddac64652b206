"""Integration tests keep everything in a fresh database of a real Postgres."""

import pytest

from auth_service.adapters.unit_of_work import PostgresUnitOfWork
from service_kit.database import open_engine, sessions


@pytest.fixture
def database_url(migrated_database):
    return migrated_database("auth_service")


@pytest.fixture
async def engine(database_url):
    engine = open_engine(database_url, application_name="auth-service-tests", pool_timeout=10)
    yield engine
    await engine.dispose()


@pytest.fixture
def unit_of_work(engine):
    return PostgresUnitOfWork(sessions(engine))
