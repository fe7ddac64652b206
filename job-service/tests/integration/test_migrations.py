"""The migrations make the tables that the code believes in."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from job_service.adapters.tables import metadata


async def test_tables_are_as_declared(postgres_store):
    """Nothing is missing and nothing is left over."""

    def difference(connection):
        return compare_metadata(MigrationContext.configure(connection), metadata)

    async with postgres_store.engine.connect() as connection:
        assert await connection.run_sync(difference) == []
