"""The schema that migrations leave, and who may change what in it."""

from datetime import timedelta

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from auth_service.adapters.tables import metadata
from service_kit.database import open_engine


async def test_migrations_leave_what_the_tables_say(engine):
    """No table, column, index or constraint is in one and not in the other."""

    def differences(connection):
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return compare_metadata(context, metadata)

    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []


@pytest.mark.parametrize("role", ["login", "owner", "superuser"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entries SET action = 'nothing'",
        "DELETE FROM audit_entries",
        "TRUNCATE audit_entries",
    ],
)
async def test_the_audit_log_only_grows(world, migrated_database, database_url, role, statement):
    """The service can't rewrite it; nor can the owner or a superuser by accident."""
    await world.registered()

    with pytest.raises(ProgrammingError, match=r"permission denied|append-only"):
        await as_role(migrated_database, database_url, role, statement)


@pytest.mark.parametrize("role", ["login", "owner", "superuser"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_archive SET action = 'nothing'",
        "DELETE FROM audit_archive",
        "TRUNCATE audit_archive",
    ],
)
async def test_the_archive_only_grows(
    world, clock, migrated_database, database_url, role, statement
):
    """Like the log that it continues."""
    await world.registered()
    clock.advance(timedelta(days=91).total_seconds())
    await world.tasks["archive_logs"].run()

    with pytest.raises(ProgrammingError, match=r"permission denied|append-only"):
        await as_role(migrated_database, database_url, role, statement)


async def test_only_its_owner_adds_to_the_archive(migrated_database, database_url):
    """What the service could put there could cover for an entry of the log."""
    statement = "INSERT INTO audit_archive SELECT *, now() FROM audit_entries"

    with pytest.raises(ProgrammingError, match="permission denied"):
        await as_role(migrated_database, database_url, "login", statement)


@pytest.mark.parametrize(
    "copied", ["user_id, subject, 'another request'", "NULL::uuid, subject, request_id"]
)
async def test_an_entry_goes_only_if_the_archive_holds_it(
    world, migrated_database, database_url, copied
):
    """As it is: one that differs keeps nothing. Not even a superuser loses one by accident."""
    await world.registered()
    copy = (
        "INSERT INTO audit_archive"
        f" SELECT entry_id, occurred_at, action, {copied}, now() FROM audit_entries"
    )
    await as_role(migrated_database, database_url, "owner", copy)

    for role in ("owner", "superuser"):
        with pytest.raises(ProgrammingError, match="append-only"):
            await as_role(migrated_database, database_url, role, "DELETE FROM audit_entries")


async def as_role(migrated_database, database_url, role, statement):
    urls = {
        "login": database_url,
        "owner": migrated_database.owner_url(database_url),
        "superuser": migrated_database.superuser_url(database_url),
    }
    engine = open_engine(urls[role], application_name="test")
    try:
        async with engine.begin() as connection:
            await connection.execute(text(statement))
    finally:
        await engine.dispose()


async def test_audit_entries_tell_who_and_what(world, rows, password):
    """With the id of the request that they belong to."""
    from service_kit.request_context import begin_request

    begin_request("request-1")
    account, _ = await world.registered()
    await world.auth.log_in("ann", password)

    assert await rows(
        "SELECT action, user_id::text, request_id FROM audit_entries ORDER BY entry_id"
    ) == [
        ("user.registered", account.user.user_id, "request-1"),
        ("login.succeeded", account.user.user_id, "request-1"),
    ]
