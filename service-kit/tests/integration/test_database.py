"""Postgres: limits, lost connections, cancelled calls (X-R12, X-Z8)."""

import asyncio
import os
import random
import time

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from service_kit.database import (
    autocommit_sessions,
    check_database,
    database_errors,
    open_engine,
    sessions,
    transaction,
)
from service_kit.errors import Unavailable

# 10 makes the 10,000 calls of the long run.
SCALE = int(os.environ.get("WEIR_TEST_SCALE", "1"))


@pytest.fixture(scope="module")
def database_url(postgres_server):
    return postgres_server.create_database("kit")


@pytest.fixture
async def open_(database_url):
    """Open engines that are closed after the test."""
    opened = []

    def make(**options):
        engine = open_engine(database_url, **{"application_name": "kit-test", **options})
        opened.append(engine)
        return engine

    yield make
    for engine in opened:
        await engine.dispose()


async def scalar(engine, statement, **values):
    async with transaction(sessions(engine)) as session:
        return (await session.execute(text(statement), values)).scalar()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("application_name", "kit-test"),
        ("TimeZone", "UTC"),
        ("idle_in_transaction_session_timeout", "2s"),
        ("lock_timeout", "2s"),
        ("statement_timeout", "5s"),
    ],
)
async def test_connections_have_limits(open_, setting, value):
    """Every connection names its service and gives up on its own."""
    assert await scalar(open_(), f"SHOW {setting}") == value


async def test_block_commits_or_rolls_back(open_):
    """A transaction is kept when the block ends, and undone when it raises."""
    engine = open_()
    await scalar(engine, "SELECT 1")
    async with transaction(sessions(engine)) as session:
        await session.execute(text("CREATE TABLE IF NOT EXISTS kept (id int PRIMARY KEY)"))
        await session.execute(text("INSERT INTO kept VALUES (1)"))

    async def fail():
        async with transaction(sessions(engine)) as session:
            await session.execute(text("INSERT INTO kept VALUES (2)"))
            raise ValueError

    with pytest.raises(ValueError):
        await fail()

    assert await scalar(engine, "SELECT sum(id) FROM kept") == 1


async def test_autocommit_is_one_statement_one_transaction(open_):
    """Statements of an autocommit session stand for themselves, also beside transactions."""
    engine = open_(pool_size=1)
    with database_errors():
        async with autocommit_sessions(engine)() as session:
            ids = [await session.scalar(text("SELECT pg_current_xact_id()::text")) for _ in "ab"]
    async with transaction(sessions(engine)) as session:
        same = [await session.scalar(text("SELECT pg_current_xact_id()::text")) for _ in "ab"]

    assert ids[0] != ids[1]
    assert same[0] == same[1]


async def test_table_changed_under_a_prepared_statement(open_):
    """X-R25: a migration under load costs a call that may be repeated, not an error of ours."""
    engine, migration = open_(pool_size=1), open_()
    async with transaction(sessions(engine)) as session:
        await session.execute(text("CREATE TABLE changed (id int)"))
    await scalar(engine, "SELECT count(*) FROM (SELECT * FROM changed) x")
    await scalar(engine, "SELECT * FROM changed")
    async with transaction(sessions(migration)) as session:
        await session.execute(text("ALTER TABLE changed ALTER id TYPE bigint"))
    with pytest.raises(Unavailable):
        await scalar(engine, "SELECT * FROM changed")

    assert await scalar(engine, "SELECT * FROM changed") is None


async def test_broken_rule_is_not_an_outage(open_):
    """A constraint that says no is the caller's to handle, not "unavailable"."""
    engine = open_()
    async with transaction(sessions(engine)) as session:
        await session.execute(text("CREATE TABLE once (id int PRIMARY KEY)"))
    with pytest.raises(IntegrityError):
        await scalar(engine, "INSERT INTO once VALUES (1), (1) RETURNING id")


async def test_waiting_for_a_connection_is_bounded(open_):
    """X-R12: with 500 at once on 10 connections nobody waits beyond the limit."""
    engine = open_(pool_size=10, pool_timeout=0.3)

    async def one():
        started = time.monotonic()
        try:
            await scalar(engine, "SELECT pg_sleep(0.05)")
        except Unavailable:
            return "unavailable", time.monotonic() - started
        return "done", time.monotonic() - started

    results = await asyncio.gather(*[one() for _ in range(500)])

    outcomes = [outcome for outcome, _ in results]
    assert outcomes.count("done") >= 10
    assert outcomes.count("unavailable") > 0
    assert sorted(took for _, took in results)[494] < 2  # the 99th percentile
    assert engine.pool.checkedout() == 0
    assert await scalar(engine, "SELECT 7") == 7


async def test_lock_and_statement_waits_are_unavailable(open_):
    """A row that somebody holds, and a statement that takes too long, may be tried again."""
    engine = open_(lock_timeout=0.1, statement_timeout=0.5)
    await scalar(engine, "SELECT 1")
    async with engine.begin() as holder:
        await holder.execute(text("SELECT pg_advisory_xact_lock(5)"))
        with pytest.raises(Unavailable):
            await scalar(engine, "SELECT pg_advisory_xact_lock(5)")
    with pytest.raises(Unavailable):
        await scalar(engine, "SELECT pg_sleep(5)")


async def test_absent_database_is_unavailable():
    """Nobody listening, a wrong port: the same error, at once."""
    engine = open_engine("postgresql://kit:none@127.0.0.1:1/kit", application_name="kit-test")
    with pytest.raises(Unavailable):
        await check_database(engine)
    with pytest.raises(Unavailable):
        await scalar(engine, "SELECT 1")
    await engine.dispose()


async def test_killed_connections_are_unavailable_and_replaced(open_):
    """A connection that the server ended costs one call each, and then all is well."""
    engine, other = open_(pool_size=3), open_(application_name="killer")
    await asyncio.gather(*[scalar(engine, "SELECT pg_sleep(0.05)") for _ in range(3)])
    running = asyncio.ensure_future(scalar(engine, "SELECT pg_sleep(4)"))
    await asyncio.sleep(0.2)
    await scalar(
        other,
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE application_name = 'kit-test'",
    )
    with pytest.raises(Unavailable):
        await running

    failures = 0
    for _ in range(10):
        try:
            await scalar(engine, "SELECT 1")
        except Unavailable:
            failures += 1
    assert failures <= 3
    assert await scalar(engine, "SELECT 1") == 1


async def test_restarted_server_is_found_again(postgres_server, open_):
    """X-R9: calls fail as unavailable during a crash of Postgres, and go on after it."""
    engine = open_(pool_size=5)
    await scalar(engine, "SELECT 1")
    await asyncio.to_thread(postgres_server.stop, "immediate")
    with pytest.raises(Unavailable):
        await scalar(engine, "SELECT 1")
    await asyncio.to_thread(postgres_server.start)
    started = time.monotonic()
    async with asyncio.timeout(10):
        while True:
            try:
                await check_database(engine)
                break
            except Unavailable:
                await asyncio.sleep(0.05)

    assert time.monotonic() - started < 5


async def test_forgotten_transaction_is_ended_by_the_server(open_):
    """X-R2: a process that stops in the middle of a transaction holds its locks 2 s at most."""
    engine = open_()

    async def stall():
        async with transaction(sessions(engine)) as session:
            await session.execute(text("SELECT 1"))
            await asyncio.sleep(2.5)
            await session.execute(text("SELECT 1"))

    with pytest.raises(Unavailable):
        await stall()


async def test_cancelled_calls_never_answer_another(open_):
    """X-Z8: of many calls cancelled at any moment (seed 8), none leaves its answer behind."""
    dice = random.Random(8)
    engine = open_(pool_size=8, pool_timeout=5)
    maker = sessions(engine)

    async def ask(number):
        async with transaction(maker) as session:
            statement = text("SELECT CAST(:number AS int), pg_sleep(:pause)")
            pause = dice.choice([0, 0, 0.001, 0.003])
            row = (await session.execute(statement, {"number": number, "pause": pause})).one()
            assert row[0] == number
            again = await session.execute(text("SELECT CAST(:n AS int)"), {"n": -number})
            assert again.scalar() == -number

    assert await cancel_many(ask, dice, total=1000 * SCALE) > 100 * SCALE
    assert engine.pool.checkedout() == 0
    await asyncio.gather(*[ask(number) for number in range(50)])
    busy = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'kit-test'"
    assert await scalar(engine, busy) <= 8


async def test_cancelled_transactions_leave_nothing(open_):
    """A transaction cancelled at any moment is whole or absent, and keeps no lock."""
    dice = random.Random(9)
    engine = open_(pool_size=8, pool_timeout=5)
    maker = sessions(engine)
    async with transaction(maker) as session:
        await session.execute(text("CREATE TABLE IF NOT EXISTS pairs (id int, half int)"))

    async def write(number):
        async with transaction(maker) as session:
            for half in (1, 2):
                await session.execute(
                    text("INSERT INTO pairs VALUES (:id, :half)"), {"id": number, "half": half}
                )

    assert await cancel_many(write, dice, total=500) > 50

    halves = "SELECT count(*) FROM (SELECT id FROM pairs GROUP BY id HAVING count(*) <> 2) x"
    assert await scalar(engine, halves) == 0
    assert await scalar(engine, "SELECT count(*) FROM pairs") > 0
    async with transaction(maker) as session:
        await session.execute(text("LOCK TABLE pairs IN ACCESS EXCLUSIVE MODE NOWAIT"))


async def cancel_many(ask, dice, total):
    """Run calls in waves, cancel many of them at random moments; count the cancelled."""
    cancelled = 0
    for wave in range(total // 100):
        tasks = [asyncio.ensure_future(ask(wave * 100 + number + 1)) for number in range(100)]
        for task in dice.sample(tasks, 70):
            asyncio.get_running_loop().call_later(dice.random() * 0.03, task.cancel)
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, asyncio.CancelledError):
                cancelled += 1
            elif result is not None:
                raise result
    return cancelled
