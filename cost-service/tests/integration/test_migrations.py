"""What the migrations leave: the tables, the prices, and who may change them."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import create_async_engine

from cost_service.adapters.cost_metrics import CostMetrics
from cost_service.adapters.tables import APPEND_ONLY, MUTABLE, PRICE_BOOK, READ_ONLY, metadata
from cost_service.adapters.unit_of_work import PostgresUnitOfWork
from cost_service.domain.settlement import EntryKind, Outcome, Settlement
from cost_service.usecases.settle_hold import SettleHold
from service_kit.database import async_url, open_engine, sessions
from service_kit.migrate import run_migrations

from .conftest import check_books, project

CHANGES = [
    "UPDATE {table} SET {column} = {column}",
    "DELETE FROM {table}",
    "TRUNCATE {table}",
]
COLUMNS = {
    "ledger": "amount_nanousd",
    "audit_entries": "action",
    "price_versions": "note",
    "prices": "input_nanousd_per_million",
    "budget_top_ups": "amount_nanousd",
    "budget_alerts": "level",
}


async def test_tables_are_as_declared(kept_database):
    """The migrations make exactly the tables that the code declares."""
    engine = create_async_engine(async_url(kept_database))

    def differences(connection):
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        return compare_metadata(context, metadata)

    async with engine.connect() as connection:
        found = await connection.run_sync(differences)
    await engine.dispose()

    assert found == []


async def book_everywhere(money):
    """Leave a row in each table that only grows."""
    await money.set_budget(100)
    await money.top_up(1)
    await money.hold(amount=100)
    await money.post(amount=100)


@pytest.mark.parametrize("table", APPEND_ONLY + PRICE_BOOK)
@pytest.mark.parametrize("change", CHANGES, ids=["update", "delete", "truncate"])
class TestAppendOnly:
    async def test_service_lacks_the_right(self, money, table, change):
        """X-M10: the service's own role may not change what was booked."""
        await book_everywhere(money)
        statement = change.format(table=_truncated(table, change), column=COLUMNS[table])

        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
            await money.connection.execute(statement)

    async def test_owner_is_stopped_too(self, money, migrated_database, database, table, change):
        """The owner, and whoever is given the right by mistake, is stopped by the trigger."""
        await book_everywhere(money)
        owner = await asyncpg.connect(migrated_database.owner_url(database))
        tables = _truncated(table, change)
        statement = change.format(table=tables, column=COLUMNS[table])
        try:
            if table in APPEND_ONLY:
                with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
                    await owner.execute(statement)
            async with owner.transaction():
                await owner.execute(f"GRANT UPDATE, DELETE, TRUNCATE ON {tables} TO CURRENT_USER")
                with pytest.raises(asyncpg.InsufficientPrivilegeError, match="only grows"):
                    async with owner.transaction():
                        await owner.execute(statement)
                if table in APPEND_ONLY:
                    await owner.execute(
                        f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM CURRENT_USER"
                    )
        finally:
            await owner.close()


def _truncated(table, change):
    """What refers to a table is truncated with it, or the reference alone would refuse it."""
    together = table == "price_versions" and change.startswith("TRUNCATE")
    return "price_versions, prices" if together else table


async def test_rights_of_the_login_role(connection):
    """The login role deletes nothing, changes no price, and may do what its work needs."""
    wanted = {table: {"SELECT", "INSERT"} for table in APPEND_ONLY + PRICE_BOOK}
    wanted |= {table: {"SELECT", "INSERT", "UPDATE"} for table in MUTABLE}
    wanted |= {table: {"SELECT"} for table in READ_ONLY}
    rights = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE")
    for table, expected in wanted.items():
        found = {
            right
            for right in rights
            if await connection.fetchval("SELECT has_table_privilege($1, $2)", table, right)
        }
        assert found == expected, table


async def test_one_role_for_everything(migrated_database):
    """Where migrations run as the login role itself, it gives up changing the ledger."""
    url = migrated_database.owner_url(migrated_database.empty("cost_service"))
    for _ in range(2):
        done = await asyncio.to_thread(_migrate, {"DATABASE_URL": url})
        assert done.returncode == 0, done.stdout + done.stderr
    connection = await asyncpg.connect(url)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("DELETE FROM ledger")
    await connection.close()


async def test_login_role_is_named_by_database_url(migrated_database):
    """The role in DATABASE_URL gets its rights even where nothing was granted before."""
    url = migrated_database.empty("cost_service")
    superuser = await asyncpg.connect(migrated_database.superuser_url(url))
    await superuser.execute(
        "ALTER DEFAULT PRIVILEGES FOR ROLE cost_service_owner "
        "REVOKE ALL ON TABLES FROM cost_service"
    )
    await superuser.close()

    done = await asyncio.to_thread(
        _migrate,
        {"DATABASE_URL": url, "MIGRATION_DATABASE_URL": migrated_database.owner_url(url)},
    )

    assert done.returncode == 0, done.stdout + done.stderr
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT count(*) FROM ledger") == 0
    await connection.close()


# What a database held before budgets had periods and prices a file: the old seed among it.
BEFORE_0002 = """
    INSERT INTO price_versions VALUES ('1', '2025-01-01T00:00:00Z', 'The documents'' rates.');
    INSERT INTO prices VALUES
        ('1', 'local', '*', 1000000000000, 1000000000000),
        ('1', 'yotta', '*', 10000000000000, 10000000000000),
        ('1', 'anthropic', 'claude-sonnet-4', 3000000000, 15000000000),
        ('1', 'anthropic', 'claude-haiku-4.5', 250000000, 1250000000),
        ('1', 'openai', 'gpt-5.1', 10000000000, 30000000000),
        ('1', 'google', 'gemini-2.5-flash', 75000000, 300000000),
        ('1', 'groq', 'llama-3.3-70b', 590000000, 790000000),
        ('1', 'xai', 'grok-4-1-fast', 5000000000, 15000000000);
    INSERT INTO allowances VALUES ('owner-1', 10000, 1000);
    INSERT INTO allocations VALUES ('project', 'p1', 'owner-1', 1000);
    INSERT INTO budgets (scope_kind, scope_id, period, cap_nanousd, reserved_nanousd,
                         posted_nanousd)
    VALUES ('project', 'p1', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM'), 1000, 100, 60);
    INSERT INTO holds (hold_id, job_id, state, placed, amount_nanousd, price_version, settled_at)
    VALUES ('j1:1', 'j1', 'posted', true, 100, '1', now()),
           ('j2:1', 'j2', 'held', true, 100, '1', NULL);
    INSERT INTO hold_scopes SELECT hold_id, budget_id FROM holds CROSS JOIN budgets;
    INSERT INTO ledger (hold_id, kind, amount_nanousd, budget_ids, period, job_id, project_id,
                        job_state, target, model, tokens_input, tokens_output, usage_source,
                        provider_cost_nanousd, price_version)
    SELECT 'j1:1', 'post', 60, ARRAY[budget_id], period, 'j1', 'p1', 'completed', 'local', 'm', 1,
           1, 'reported', 0, '1' FROM budgets
"""


async def test_upgrade_keeps_what_is_booked(migrated_database):
    """A database of before is brought up to date with its books in order, and goes on."""
    url = migrated_database.empty("cost_service")
    owner = migrated_database.owner_url(url)
    await run_migrations("cost_service", owner, revision="0001")
    superuser = await asyncpg.connect(migrated_database.superuser_url(url))
    await superuser.execute(BEFORE_0002)
    await superuser.close()

    done = await asyncio.to_thread(_migrate, {"DATABASE_URL": url, "MIGRATION_DATABASE_URL": owner})

    assert done.returncode == 0, done.stdout + done.stderr
    await check_books(url)
    engine = open_engine(url, application_name="test")
    settle = SettleHold(PostgresUnitOfWork(sessions(engine)), CostMetrics(CollectorRegistry()))
    outcome = Outcome(job_id="j2", project_id="p1", job_state="completed")
    assert await settle(Settlement("j2:1", EntryKind.POST, 70, (project(),), outcome))
    await engine.dispose()
    (budget,) = (await check_books(url)).budgets
    assert (budget.reserved_nanousd, budget.posted_nanousd) == (0, 130)


def _migrate(settings):
    return subprocess.run(
        [sys.executable, "-m", "cost_service", "migrate"],
        env={"PATH": "/usr/bin:/bin", **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_prices_of_version_1(money):
    """D1: the documents' rates, in nano-USD per million tokens."""
    async with money.work() as work:
        snapshot = await work.prices.current()

    usd = 10**9
    assert snapshot.price_version == "1"
    assert {
        (price.target, price.model): (
            price.input_nanousd_per_million,
            price.output_nanousd_per_million,
        )
        for price in snapshot.prices
    } == {
        # per token: $0.001 and $0.01
        ("local", "*"): (1000 * usd, 1000 * usd),
        ("yotta", "*"): (10_000 * usd, 10_000 * usd),
        ("anthropic", "claude-sonnet-4"): (3 * usd, 15 * usd),
        ("anthropic", "claude-haiku-4.5"): (usd // 4, 5 * usd // 4),
        ("openai", "gpt-5.1"): (10 * usd, 30 * usd),
        ("google", "gemini-2.5-flash"): (75 * usd // 1000, 300 * usd // 1000),
        ("groq", "llama-3.3-70b"): (590 * usd // 1000, 790 * usd // 1000),
        ("xai", "grok-4-1-fast"): (5 * usd, 15 * usd),
    }


async def test_a_later_price_version_waits_for_its_day(money):
    """A version is used from its date on, not before."""
    await money.connection.execute(
        """
        BEGIN;
        INSERT INTO price_versions (price_version, valid_from, note)
        VALUES ('2', now() - interval '1 s', ''), ('3', now() + interval '1 day', '');
        INSERT INTO prices VALUES ('2', 'local', '*', 1, 2), ('3', 'local', '*', 3, 4);
        COMMIT;
        """
    )
    async with money.work() as work:
        snapshot = await work.prices.current()

    assert snapshot.price_version == "2"
    assert [price.output_nanousd_per_million for price in snapshot.prices] == [2]
