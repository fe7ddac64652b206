"""The fixtures that every service's tests stand on."""

import asyncpg
import pytest
import redis

from weir_local.pytest_plugin import MigratedDatabases
from weir_local.throwaway import PostgresServer, RedisServer


async def test_a_made_database_outlives_a_crash(postgres_server: PostgresServer) -> None:
    """What was committed is there after the server was killed and started again."""
    url = postgres_server.create_database("crash")
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE kept AS SELECT 42 AS value")
    connection.terminate()

    postgres_server.restart_immediate()

    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT value FROM kept") == 42
    await connection.close()


async def test_a_service_role_stays_in_its_own_database(
    migrated_database: MigratedDatabases,
) -> None:
    """A service's role can't connect to another service's database."""
    own = migrated_database.empty("job_service")
    other = migrated_database.empty("cost_service")
    foreign = own.rpartition("/")[0] + "/" + other.rpartition("/")[2]

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(foreign)


async def test_the_login_role_has_rows_and_nothing_more(
    migrated_database: MigratedDatabases,
) -> None:
    """The owner makes tables, the login role reads and writes them and can't make any."""
    url = migrated_database.empty("job_service")
    owner = await asyncpg.connect(migrated_database.owner_url(url))
    await owner.execute("CREATE TABLE thing (id bigint GENERATED ALWAYS AS IDENTITY, name text)")
    await owner.close()

    login = await asyncpg.connect(url)
    try:
        await login.execute("INSERT INTO thing (name) VALUES ('a')")
        assert await login.fetchval("SELECT name FROM thing") == "a"
        assert await login.fetchval("SHOW idle_in_transaction_session_timeout") == "2s"
        assert await login.fetchval("SHOW lock_timeout") == "3s"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await login.execute("CREATE TABLE other (id int)")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await login.execute("DROP TABLE thing")
    finally:
        await login.close()


async def test_the_audit_role_reads_everything_and_writes_nothing(
    migrated_database: MigratedDatabases,
) -> None:
    """The ledger checker's role sees each table and can change none."""
    url = migrated_database.empty("cost_service")
    owner = await asyncpg.connect(migrated_database.owner_url(url))
    await owner.execute("CREATE TABLE entry AS SELECT 1 AS amount")
    await owner.close()

    audit = await asyncpg.connect(migrated_database.audit_url(url))
    try:
        assert await audit.fetchval("SELECT amount FROM entry") == 1
        with pytest.raises(
            (asyncpg.InsufficientPrivilegeError, asyncpg.ReadOnlySQLTransactionError)
        ):
            await audit.execute("DELETE FROM entry")
    finally:
        await audit.close()


class TestRedis:
    """The Redis of the tests."""

    def test_each_test_finds_it_empty(self, redis_server: RedisServer, redis_url: str) -> None:
        """Nothing that one test leaves is there for the next one."""
        client = redis.Redis.from_url(redis_url)
        assert client.dbsize() == 0
        client.set("left", "over")

        redis_server.flush()

        assert client.dbsize() == 0
        client.close()

    def test_it_asks_for_a_password(self, redis_url: str) -> None:
        """Another user of this machine can't read it."""
        without = redis.Redis.from_url("redis://" + redis_url.rpartition("@")[2])
        with pytest.raises(redis.AuthenticationError):
            without.get("anything")
        without.close()

    def test_it_comes_back_at_its_address(self, redis_server: RedisServer, redis_url: str) -> None:
        """A killed server starts again where its clients look for it."""
        redis_server.stop()
        redis_server.start()

        client = redis.Redis.from_url(redis_url)
        assert client.ping()
        client.close()
