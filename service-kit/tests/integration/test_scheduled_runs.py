"""Who gets a run, in Postgres and in the fake alike; many schedulers on one Postgres (X-R24)."""

import asyncio
import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import text

from service_kit.database import new_metadata, open_engine, sessions, transaction
from service_kit.errors import Unavailable
from service_kit.loop import running
from service_kit.metrics import new_registry
from service_kit.schedule import Every, RunOutcome, ScheduledTask
from service_kit.scheduled_runs import (
    KEPT,
    Claim,
    Ending,
    PostgresRuns,
    scheduled_runs_table,
)
from service_kit.scheduler import LEASE_MARGIN, Scheduler
from service_kit.testing.clock import FixedClock
from service_kit.testing.runs import MemoryRuns

DUE = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
LEASE = timedelta(seconds=60)
DONE = Ending(RunOutcome.SUCCEEDED, 1.5)
ATTEMPTS = 3
# 10 lets X-R24 run for half a minute.
SCALE = int(os.environ.get("WEIR_TEST_SCALE", "1"))
TICKS = 25 * SCALE
FINISHED = "scheduled_runs WHERE finished_at IS NOT NULL"


def a_claim(task="t", due_at=DUE, lease=LEASE):
    return Claim(task, due_at, str(uuid4()), "replica", lease)


@pytest.fixture(scope="module")
def one_database_url(postgres_server):
    return postgres_server.create_database("kit_runs")


@pytest.fixture
async def database_url(one_database_url):
    """A database with the empty table of runs, and one for what they do."""
    engine = open_engine(one_database_url, application_name="kit-test")
    metadata = new_metadata()
    scheduled_runs_table(metadata)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.drop_all)
        await connection.run_sync(metadata.create_all)
        await connection.execute(text("DROP TABLE IF EXISTS effects"))
        await connection.execute(
            text("CREATE TABLE effects (effect bigint GENERATED ALWAYS AS IDENTITY)")
        )
    await engine.dispose()
    return one_database_url


@pytest.fixture
async def open_(database_url):
    """Open engines that are closed after the test."""
    opened = []

    def make():
        engine = open_engine(database_url, application_name="kit-test", pool_timeout=10)
        opened.append(engine)
        return engine

    yield make
    for engine in opened:
        await engine.dispose()


class InMemory:
    def __init__(self):
        self._clock = FixedClock()
        self.runs = MemoryRuns(self._clock)

    async def pass_time(self, span):
        self._clock.advance(span.total_seconds())


class InPostgres:
    def __init__(self, engine):
        self._engine = engine
        self.runs = PostgresRuns(engine)

    async def pass_time(self, span):
        """Move all that happened into the past, as the clock can't be moved on."""
        async with transaction(sessions(self._engine)) as session:
            await session.execute(
                text("""
                    UPDATE scheduled_runs SET started_at = started_at - CAST(:span AS interval),
                        lease_expires_at = lease_expires_at - CAST(:span AS interval),
                        finished_at = finished_at - CAST(:span AS interval)
                """),
                {"span": span},
            )


@pytest.fixture(params=["memory", "postgres"])
def kept(request):
    """Each place for runs in turn."""
    if request.param == "memory":
        return InMemory()
    return InPostgres(request.getfixturevalue("open_")())


class TestRuns:
    async def test_a_run_is_had_once(self, kept):
        """While a lease holds, and after the run is over."""
        claim = a_claim()
        assert await kept.runs.claim(claim, ATTEMPTS) == 1
        assert await kept.runs.claim(a_claim(), ATTEMPTS) is None
        assert await kept.runs.finish(claim, DONE)
        await kept.pass_time(LEASE)

        assert await kept.runs.claim(a_claim(), ATTEMPTS) is None
        found = await kept.runs.find("t", DUE)
        assert (found.attempt, found.outcome, found.duration_seconds, found.error) == (
            1, RunOutcome.SUCCEEDED, 1.5, None,
        )  # fmt: skip

    async def test_a_lapsed_run_is_taken_over(self, kept):
        """Only then, and the first holder can't finish it or hand it back any more."""
        first, second = a_claim(), a_claim()
        await kept.runs.claim(first, ATTEMPTS)
        await kept.pass_time(LEASE - timedelta(seconds=5))
        assert await kept.runs.claim(second, ATTEMPTS) is None
        assert not (await kept.runs.find("t", DUE)).lapsed
        await kept.pass_time(timedelta(seconds=5))
        assert (await kept.runs.find("t", DUE)).lapsed
        assert await kept.runs.claim(second, ATTEMPTS) == 2

        assert not await kept.runs.finish(first, DONE)
        assert not await kept.runs.hand_back(first, timedelta(0), "late")
        assert await kept.runs.finish(second, Ending(RunOutcome.FAILED, 2, "KeyError"))
        assert not await kept.runs.finish(second, DONE)
        found = await kept.runs.find("t", DUE)
        assert (found.attempt, found.outcome, found.error) == (2, RunOutcome.FAILED, "KeyError")

    async def test_a_late_end_counts_if_nobody_took_over(self, kept):
        """It is what happened."""
        claim = a_claim()
        await kept.runs.claim(claim, ATTEMPTS)
        await kept.pass_time(2 * LEASE)

        assert await kept.runs.finish(claim, DONE)

    async def test_attempts_have_an_end(self, kept):
        """After the last one the run is had by nobody, and is given up."""
        for attempt in range(1, ATTEMPTS + 1):
            assert await kept.runs.claim(a_claim(), ATTEMPTS) == attempt
            assert await kept.runs.abandon("t", DUE, ATTEMPTS) == 0
            await kept.pass_time(LEASE)
        assert await kept.runs.claim(a_claim(), ATTEMPTS) is None

        assert await kept.runs.abandon("t", DUE, ATTEMPTS) == 1
        assert await kept.runs.abandon("t", DUE, ATTEMPTS) == 0
        found = await kept.runs.find("t", DUE)
        assert (found.outcome, found.error) == (RunOutcome.ABANDONED, "Nobody finished it.")

    async def test_what_is_handed_back_waits(self, kept):
        """Somebody gets it after the pause; until it ends well its error is kept."""
        claim = a_claim()
        await kept.runs.claim(claim, ATTEMPTS)
        assert await kept.runs.hand_back(claim, timedelta(seconds=30), "Unavailable: x")
        assert await kept.runs.claim(a_claim(), ATTEMPTS) is None
        await kept.pass_time(timedelta(seconds=30))

        again = a_claim()
        assert await kept.runs.claim(again, ATTEMPTS) == 2
        assert (await kept.runs.find("t", DUE)).error == "Unavailable: x"
        assert await kept.runs.finish(again, DONE)
        assert (await kept.runs.find("t", DUE)).error is None

    async def test_a_task_runs_once_at_a_time(self, kept):
        """The next due time waits for a run that is under way, and gives up one that lapsed."""
        later = a_claim(due_at=DUE + timedelta(minutes=1))
        await kept.runs.claim(a_claim(), ATTEMPTS)
        assert await kept.runs.claim(later, ATTEMPTS) is None
        assert await kept.runs.claim(a_claim(task="other"), ATTEMPTS) == 1
        await kept.pass_time(LEASE)

        assert await kept.runs.abandon("t", later.due_at, ATTEMPTS) == 1
        assert await kept.runs.claim(later, ATTEMPTS) == 1

    async def test_old_runs_are_forgotten(self, kept):
        """Those of the same task, when a later one ends."""
        long_ago, before = a_claim(due_at=DUE - KEPT - LEASE), a_claim(due_at=DUE - KEPT)
        of_another = a_claim(task="other", due_at=DUE - KEPT - LEASE)
        for claim in (long_ago, before, of_another, a_claim()):
            await kept.runs.claim(claim, ATTEMPTS)
            await kept.runs.finish(claim, DONE)

        assert await kept.runs.find("t", long_ago.due_at) is None
        assert await kept.runs.find("t", before.due_at)
        assert await kept.runs.find("other", of_another.due_at)

    async def test_status_of_tasks(self, kept):
        """The latest run that is over, and since when one is under way, task by task."""
        every = Every(timedelta(minutes=1))
        tasks = [ScheduledTask(name, every, asyncio.Event) for name in ("t", "idle")]
        for minutes, seconds in ((0, 1.0), (1, 2.0)):
            claim = a_claim(due_at=DUE + timedelta(minutes=minutes))
            await kept.runs.claim(claim, ATTEMPTS)
            await kept.runs.finish(claim, Ending(RunOutcome.SUCCEEDED, seconds))
        await kept.runs.claim(a_claim(due_at=DUE + timedelta(minutes=2)), ATTEMPTS)

        busy, idle = await kept.runs.statuses(tasks)

        assert (busy.task, busy.last_run.duration_seconds) == ("t", 2.0)
        assert busy.last_run.finished_at <= busy.running_since
        assert (idle.task, idle.last_run, idle.running_since) == ("idle", None, None)
        now = await kept.runs.now()
        assert now < idle.next_due_at <= now + timedelta(minutes=1)


@pytest.mark.parametrize("lapsed", [False, True])
async def test_claims_at_once_have_one_winner(open_, lapsed):
    """Twenty replicas, a new run or one that lapsed."""
    kept = InPostgres(open_())
    if lapsed:
        await kept.runs.claim(a_claim(), ATTEMPTS)
        await kept.pass_time(LEASE)
    replicas = [PostgresRuns(open_()) for _ in range(4)]

    got = await asyncio.gather(
        *(each.claim(a_claim(), ATTEMPTS) for each in replicas for _ in range(5))
    )

    assert [attempt for attempt in got if attempt] == [2 if lapsed else 1]


class UntilStopped:
    """An interval of which no due time comes after the stop."""

    def __init__(self, interval):
        self._every = Every(interval)
        self._stop = datetime.max.replace(tzinfo=UTC)

    def latest_due(self, now):
        return self._every.latest_due(min(now, self._stop))

    def next_due(self, now):
        return self._every.next_due(now)

    def stop(self, now):
        self._stop = now


async def test_three_schedulers_have_one_effect_per_tick(open_):
    """X-R24: many due times on three replicas: each is run once, by one of them."""
    ticks = UntilStopped(timedelta(milliseconds=40))
    registries = [new_registry(str(number)) for number in range(3)]

    def replica(registry):
        engine = open_()

        async def work():
            async with transaction(sessions(engine)) as session:
                await session.execute(text("INSERT INTO effects DEFAULT VALUES"))

        task = ScheduledTask("t", ticks, work)
        return Scheduler([task], PostgresRuns(engine), registry=registry, poll_seconds=0.01)

    engine = open_()
    replicas = [replica(registry) for registry in registries]
    async with running(*replicas):
        await until(lambda: has_rows(engine, "effects", TICKS))
        now = await PostgresRuns(engine).now()
        ticks.stop(now)
        last = ticks.latest_due(now)
        await until(lambda: has_rows(engine, f"{FINISHED} AND due_at = '{last}'", 1))
        runs = await count(engine, "scheduled_runs")
        await until(lambda: has_counted(registries, runs))

    assert runs == await count(engine, f"{FINISHED} AND attempt = 1 AND outcome = 'succeeded'")
    assert await count(engine, "effects") == runs >= TICKS
    assert counted(registries) == runs


DYING = """
import asyncio, sys
from datetime import timedelta
from service_kit.database import open_engine
from service_kit.loop import running
from service_kit.metrics import new_registry
from service_kit.schedule import Every, ScheduledTask
from service_kit.scheduled_runs import PostgresRuns
from service_kit.scheduler import Scheduler

async def hang():
    print("begun", flush=True)
    await asyncio.Event().wait()

async def main():
    runs = PostgresRuns(open_engine(sys.stdin.readline().strip(), application_name="dying"))
    task = ScheduledTask("t", Every(timedelta(days=10)), hang)
    async with running(Scheduler([task], runs, registry=new_registry("dying"))):
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_killed_replica_is_followed(open_, database_url):
    """kill -9 in the middle of a run: the next holder of the lease runs it again."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DYING, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    process.stdin.write(f"{database_url}\n".encode())
    async with asyncio.timeout(60):
        assert await process.stdout.readline() == b"begun\n"
        process.send_signal(signal.SIGKILL)
        await process.communicate()
    engine = open_()
    kept = InPostgres(engine)
    ran = asyncio.Event()

    async def work():
        ran.set()

    task = ScheduledTask("t", Every(timedelta(days=10)), work)
    follower = Scheduler([task], kept.runs, registry=new_registry("x"), poll_seconds=0.01)
    async with running(follower):
        await asyncio.sleep(0.1)
        assert not ran.is_set()
        await kept.pass_time(timedelta(seconds=60) + LEASE_MARGIN)
        await until(lambda: has_rows(engine, FINISHED, 1))

    (status,) = await follower.statuses()
    assert ran.is_set()
    assert (status.last_run.attempt, status.last_run.outcome) == (2, RunOutcome.SUCCEEDED)


async def test_a_database_that_is_away_is_unavailable():
    """Which the scheduler's loop tries again."""
    engine = open_engine("postgresql://weir:x@127.0.0.1:1/none", application_name="x")
    with pytest.raises(Unavailable):
        await PostgresRuns(engine).claim(a_claim(), ATTEMPTS)
    await engine.dispose()


async def until(condition):
    async with asyncio.timeout(60 * SCALE):
        while not await condition():  # noqa: ASYNC110 -- a condition with a deadline
            await asyncio.sleep(0.02)


async def count(engine, rows):
    async with engine.connect() as connection:
        return (await connection.execute(text(f"SELECT count(*) FROM {rows}"))).scalar_one()


async def has_rows(engine, rows, wanted):
    return await count(engine, rows) >= wanted


def counted(registries):
    succeeded = "scheduled_task_runs_total", {"task": "t", "outcome": "succeeded"}
    return sum(each.get_sample_value(*succeeded) or 0 for each in registries)


async def has_counted(registries, wanted):
    return counted(registries) >= wanted
