"""The migrations make the tables that the code believes in, and keep the audit trail."""

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from job_service.adapters.tables import metadata


async def test_tables_are_as_declared(postgres_store):
    """Nothing is missing and nothing is left over."""

    def difference(connection):
        return compare_metadata(MigrationContext.configure(connection), metadata)

    async with postgres_store.engine.connect() as connection:
        assert await connection.run_sync(difference) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entries SET actor = 'nobody'",
        "DELETE FROM audit_entries",
        "TRUNCATE audit_entries",
    ],
)
async def test_audit_trail_only_grows(postgres_store, job_database, migrated_database, statement):
    """The service lacks the right to change it; whoever is given it is stopped by a trigger."""
    url, superuser_url = job_database
    async with postgres_store() as work:
        await work.audit.add("dead_letter.purged", actor="user:u1", subject="job j1", details={})
    for role_url in (url, migrated_database.owner_url(url)):
        connection = await asyncpg.connect(role_url)
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
            await connection.execute(statement)
        await connection.close()
    superuser = await asyncpg.connect(superuser_url)
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="only grows"):
        await superuser.execute(statement)
    await superuser.close()
    assert len(await postgres_store.audited()) == 1
