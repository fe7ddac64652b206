"""Replicas that run periodic work, over runs in memory whose time the tests move."""

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, time, timedelta

import pytest
from structlog.testing import capture_logs

from service_kit import scheduler as scheduler_module
from service_kit.errors import InvalidArgument, Unavailable
from service_kit.loop import running
from service_kit.metrics import new_registry
from service_kit.schedule import DailyAt, Every, RunOutcome, ScheduledTask
from service_kit.scheduler import LEASE_MARGIN, MAX_ATTEMPTS, Scheduler
from service_kit.testing.clock import FixedClock
from service_kit.testing.runs import MemoryRuns

MINUTE = Every(timedelta(minutes=1))
RETRY = timedelta(seconds=30)


class Work:
    """Counts its runs, and does in each what it was told: return, raise, or hang."""

    def __init__(self, *plan):
        self.runs = 0
        self.plan = list(plan)

    async def __call__(self):
        self.runs += 1
        step = self.plan.pop(0) if self.plan else None
        if isinstance(step, BaseException):
            raise step
        if step is not None:
            await step()

    async def reached(self, runs):
        await until(lambda: self.runs >= runs)


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 -- a condition with a deadline
            await asyncio.sleep(0.001)


async def hang():
    await asyncio.Event().wait()


@pytest.fixture
def clock():
    return FixedClock(datetime(2026, 1, 2, 12, 0, 30, tzinfo=UTC))


@pytest.fixture
def runs(clock):
    return MemoryRuns(clock)


@pytest.fixture
def registry():
    return new_registry("test")


@pytest.fixture
def replica(runs, registry):
    """Start a replica with these tasks."""

    @asynccontextmanager
    async def start(*tasks, metrics=registry):
        scheduler = Scheduler(tasks, runs, registry=metrics, poll_seconds=0.002, retry_pause=RETRY)
        async with running(scheduler):
            yield scheduler

    return start


async def last_run(scheduler, task="t"):
    return next(one.last_run for one in await scheduler.statuses() if one.task == task)


async def ended(scheduler, task="t", outcome=None):
    """Wait until the task's last run is over, with that outcome, and return it."""
    async with asyncio.timeout(20):
        while True:
            run = await last_run(scheduler, task)
            if run is not None and outcome in (None, run.outcome):
                return run
            await asyncio.sleep(0.001)


async def several_looks():
    """Let every replica look for due tasks a few times."""
    await asyncio.sleep(0.03)


async def test_a_due_time_is_run_once(replica, clock):
    """However often a replica looks; and again when the next one has come."""
    work = Work()
    async with replica(ScheduledTask("t", MINUTE, work)):
        await work.reached(1)
        await several_looks()
        assert work.runs == 1
        clock.advance(60)
        await work.reached(2)
        await several_looks()

    assert work.runs == 2


async def test_after_a_pause_only_the_latest_due_time_is_run(replica, clock):
    """A night without replicas leaves no backlog."""
    work = Work()
    task = ScheduledTask("t", MINUTE, work)
    async with replica(task) as scheduler:
        await ended(scheduler)
    clock.advance(8 * 3600)
    async with replica(task, metrics=new_registry("again")) as scheduler:
        await work.reached(2)
        await several_looks()
        run = await ended(scheduler)

    assert work.runs == 2
    assert run.due_at == datetime(2026, 1, 2, 20, 0, tzinfo=UTC)


async def test_daily_work_begins_at_its_time(replica, clock):
    """Not a moment before 02:00, and not again before the next day's."""
    work = Work()
    task = ScheduledTask("t", DailyAt(time(2, 0)), work)
    async with replica(task) as scheduler:
        assert (await ended(scheduler)).due_at == datetime(2026, 1, 2, 2, tzinfo=UTC)
        clock.advance((13 * 60 + 59) * 60 + 29)  # 01:59:59
        await several_looks()
        assert work.runs == 1
        clock.advance(1)
        await work.reached(2)
        clock.advance(12 * 3600)
        await several_looks()

    assert work.runs == 2


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (KeyError("a secret"), "KeyError"),
        (InvalidArgument("x", "It is not one."), "InvalidArgument: It is not one."),
        (asyncio.CancelledError(), "CancelledError"),
    ],
    ids=["bug", "refusal", "own cancellation"],
)
async def test_a_failing_task_stops_neither_itself_nor_others(
    replica, clock, registry, failure, error
):
    """It is noted with its class and what may be shown of it, and is run when it is due again."""
    failing, fine = Work(failure), Work()
    tasks = ScheduledTask("bad", MINUTE, failing), ScheduledTask("good", MINUTE, fine)
    with capture_logs() as logs:
        async with replica(*tasks) as scheduler:
            run = await ended(scheduler, "bad")
            await fine.reached(1)
            clock.advance(60)
            await failing.reached(2)
            await fine.reached(2)
            await ended(scheduler, "bad", RunOutcome.SUCCEEDED)

    assert (run.outcome, run.error) == (RunOutcome.FAILED, error)
    assert counted(registry, "bad", "failed") == counted(registry, "bad", "succeeded") == 1
    told = [line for line in logs if line["event"] == "scheduler.task_failed"]
    assert [line["task"] for line in told] == ["bad"]
    # A bug comes with its traceback; a refusal explains itself.
    assert ("exc_info" in told[0]) != isinstance(failure, InvalidArgument)


async def test_a_hanging_task_is_cancelled_and_stops_nobody(replica, clock):
    """Beside it others run; it is run again when it is due again."""
    hanging, fine = Work(hang), Work()
    tasks = (
        ScheduledTask("hanging", MINUTE, hanging, timeout_seconds=0.05),
        ScheduledTask("good", MINUTE, fine),
    )
    async with replica(*tasks) as scheduler:
        await ended(scheduler, "good")
        run = await ended(scheduler, "hanging")
        clock.advance(60)
        await hanging.reached(2)
        await fine.reached(2)

    assert run.outcome is RunOutcome.TIMED_OUT
    assert run.error == "TaskTimedOut: The task took longer than 0.05 s."
    assert run.duration_seconds >= 0.05


async def test_a_task_that_can_not_be_cancelled_stops_nobody(replica, clock, monkeypatch):
    """Its run counts as timed out, and the next one begins beside it."""
    monkeypatch.setattr(scheduler_module, "_CANCEL_SECONDS", 0.01)
    free = asyncio.Event()

    async def stubborn():
        while not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                continue

    work = Work(stubborn)
    async with replica(ScheduledTask("t", MINUTE, work, timeout_seconds=0.01)) as scheduler:
        assert (await ended(scheduler)).outcome is RunOutcome.TIMED_OUT
        clock.advance(60)
        await work.reached(2)
        free.set()


async def test_a_lost_replica_is_followed_when_its_lease_lapses(replica, clock):
    """Not before; and the run says that it took two."""
    work = Work(hang)
    task = ScheduledTask("t", Every(timedelta(days=1)), work)
    async with replica(task):
        await work.reached(1)
    async with replica(task, metrics=new_registry("other")) as scheduler:
        clock.advance(60 + LEASE_MARGIN.total_seconds() - 1)
        await several_looks()
        assert work.runs == 1
        clock.advance(1)
        run = await ended(scheduler)

    assert (run.outcome, run.attempt) == (RunOutcome.SUCCEEDED, 2)


async def test_who_comes_late_finishes_nothing(replica, clock, registry):
    """The run belongs to who took it over."""
    late = asyncio.Event()
    slow, quick = Work(late.wait), Work(hang)
    schedule = Every(timedelta(days=1))
    other = new_registry("other")
    async with replica(ScheduledTask("t", schedule, slow)) as first:
        await slow.reached(1)
        clock.advance(60 + LEASE_MARGIN.total_seconds())
        async with replica(ScheduledTask("t", schedule, quick), metrics=other):
            await quick.reached(1)
            with capture_logs() as logs:
                late.set()
                await until(lambda: any(e["event"] == "scheduler.run_taken_over" for e in logs))
            assert await last_run(first) is None

    assert counted(registry, "t", "succeeded") is None


async def test_work_that_kills_its_replica_is_given_up(replica, clock, registry):
    """After a few attempts nobody tries that due time again, until the next."""
    work = Work(*[hang] * MAX_ATTEMPTS)
    task = ScheduledTask("t", Every(timedelta(days=1)), work)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        async with replica(task, metrics=new_registry(str(attempt))):
            await work.reached(attempt)
        clock.advance(60 + LEASE_MARGIN.total_seconds())
    async with replica(task) as scheduler:
        run = await ended(scheduler)
        await several_looks()
        assert work.runs == MAX_ATTEMPTS
        clock.advance(24 * 3600)
        await work.reached(MAX_ATTEMPTS + 1)

    assert (run.outcome, run.attempt) == (RunOutcome.ABANDONED, MAX_ATTEMPTS)
    assert run.error == "Nobody finished it."
    assert counted(registry, "t", "abandoned") == 1


async def test_what_needs_something_that_is_away_is_tried_again(replica, clock):
    """After a pause, a few times, and then it waits for the next due time."""
    work = Work(*[Unavailable("database")] * (MAX_ATTEMPTS + 1))
    async with replica(ScheduledTask("t", Every(timedelta(days=1)), work)) as scheduler:
        for attempt in range(1, MAX_ATTEMPTS):
            await work.reached(attempt)
            await several_looks()
            assert work.runs == attempt
            assert await last_run(scheduler) is None
            clock.advance(RETRY.total_seconds())
        run = await ended(scheduler)

    assert work.runs == MAX_ATTEMPTS
    assert (run.outcome, run.attempt) == (RunOutcome.FAILED, MAX_ATTEMPTS)
    assert run.error == "Unavailable: The database is not available at the moment."


async def test_the_database_is_away_for_a_while(replica, runs, clock, registry, monkeypatch):
    """Looking is tried again; what ended meanwhile is noted later, and is not repeated."""
    monkeypatch.setattr(scheduler_module, "_NOTE_PAUSE_SECONDS", 0.005)
    done = asyncio.Event()
    work = Work(done.wait)
    async with replica(ScheduledTask("t", MINUTE, work)) as scheduler:
        await work.reached(1)
        runs.away = True
        done.set()
        await until(lambda: failures(registry) > 0)
        runs.away = False
        run = await ended(scheduler)
        await several_looks()

    assert work.runs == 1
    assert run.outcome is RunOutcome.SUCCEEDED


async def test_a_long_run_and_the_next_due_time_do_not_overlap(replica, clock):
    """On no replica; the next one begins when the first is over."""
    done = asyncio.Event()
    work = Work(done.wait)
    task = ScheduledTask("t", MINUTE, work, timeout_seconds=600)
    async with replica(task), replica(task, metrics=new_registry("other")):
        await work.reached(1)
        clock.advance(60)
        await several_looks()
        assert work.runs == 1
        done.set()
        await work.reached(2)


async def test_every_replica_shows_the_last_run(replica, registry, clock):
    """When it ended and how long it took, also where it did not run."""
    work, other = Work(), new_registry("other")
    task = ScheduledTask("t", MINUTE, work)
    labels = {"task": "t"}
    async with replica(task), replica(task, metrics=other):
        for each in (registry, other):
            await until(
                lambda each=each: (
                    each.get_sample_value("scheduled_task_last_run_timestamp_seconds", labels)
                    == clock.now().timestamp()
                )
            )
            assert each.get_sample_value("scheduled_task_last_duration_seconds", labels) >= 0

    counts = [counted(each, "t", "succeeded") for each in (registry, other)]
    assert sorted(count or 0 for count in counts) == [0, 1]


async def test_status_tells_what_runs_and_what_comes(replica, clock):
    """Before the first run, during it, and after."""
    done = asyncio.Event()
    async with replica(ScheduledTask("t", MINUTE, Work(done.wait))) as scheduler:
        (before,) = await scheduler.statuses()
        assert (before.schedule, before.last_run) == ("every 60 s", None)
        assert before.next_due_at == datetime(2026, 1, 2, 12, 1, tzinfo=UTC)
        started = clock.now()
        async with asyncio.timeout(20):
            while (await scheduler.statuses())[0].running_since != started:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        done.set()
        await ended(scheduler)
        assert (await scheduler.statuses())[0].running_since is None


async def test_leaving_cancels_what_runs():
    """Nothing is left behind."""
    before = asyncio.all_tasks()
    work = Work(hang)
    scheduler = Scheduler(
        [ScheduledTask("t", MINUTE, work)], MemoryRuns(FixedClock()), registry=new_registry("x")
    )
    async with running(scheduler):
        await work.reached(1)

    assert asyncio.all_tasks() == before


def test_names_tell_tasks_apart(runs, registry):
    """Two of the same name would share their runs."""
    twice = [ScheduledTask("t", MINUTE, Work())] * 2
    with pytest.raises(ValueError):
        Scheduler(twice, runs, registry=registry)


def counted(registry, task, outcome):
    return registry.get_sample_value(
        "scheduled_task_runs_total", {"task": task, "outcome": outcome}
    )


def failures(registry):
    return registry.get_sample_value("loop_tick_failures_total", {"loop": "scheduler"}) or 0
