"""Readers of a job, over one feed: nothing left out, nothing told twice, nobody in the way."""

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest
from event_fakes import FakeDeltas, FakeFeedMetrics, FakeLifecycle, WokenPublisher
from hypothesis import given, settings
from hypothesis import strategies as st
from job_fakes import FakeStore, a_job, until
from readers import Reader

from job_service.domain.errors import EventCursorInvalid, JobNotFound
from job_service.domain.job_state import JobState
from job_service.usecases.job_feeds import ENDED_AT_ONCE, PAGE, JobFeeds
from job_service.usecases.watch_job import WatchJob
from service_kit.errors import Unavailable
from service_kit.testing.clock import FixedClock


class Stage:
    """A queued job that is played by hand, and a replica that is asked about it."""

    def __init__(self, window_deltas=4096):
        self.clock = FixedClock()
        self.store, self.redis = FakeStore(self.clock), FakeDeltas()
        self.lifecycle = FakeLifecycle()
        self.publisher = WokenPublisher(self.redis, self.clock)
        self.metrics = FakeFeedMetrics()
        self.feeds = JobFeeds(
            self.lifecycle, self.redis, self.store, self.metrics, self.clock, 1.0, window_deltas
        )
        self.watch = WatchJob(self.store, self.lifecycle, self.feeds, self.metrics)
        self.job = a_job()
        self.store.tables.jobs[self.job.id] = self.job
        self.attempt, self.said, self.deltas = 0, [], None
        self.tell("created")
        self.tell("pending", attempt=0)

    def tell(self, type_, **details):
        self.lifecycle.tell(self.job.id, type_, **details)

    def run(self):
        """Begin the next attempt."""
        self.attempt += 1
        self.said = said = []
        self.deltas = self.publisher.open(self.job.id, self.attempt, lambda: "".join(said))
        self.tell("running", attempt=self.attempt)

    async def say(self, *texts):
        for text in texts:
            self.said.append(text)
            self.deltas.add(text)
            await self.publisher.flush()

    async def fail(self):
        await self.deltas.close()
        self.tell("retrying", attempt=self.attempt)

    async def end(self, state=JobState.COMPLETED, text=None):
        count = await self.deltas.close()
        text = "".join(self.said) if text is None else text
        ended = replace(self.job, state=state, result_text=text or None)
        self.store.tables.jobs[self.job.id] = ended
        self.tell(state.value, attempt=self.attempt, deltas=count, admission=self.job.admission)

    async def fail_for_good(self):
        await self.end(JobState.FAILED)

    def retry(self):
        """Let a person open the next admission."""
        self.job = replace(self.job, admission=self.job.admission + 1)
        self.store.tables.jobs[self.job.id] = self.job
        self.tell("retried", attempt=self.attempt, admission=self.job.admission)

    async def look(self):
        """Look at everything, as each second."""
        self.clock.advance(1)
        with suppress(Unavailable):
            await self.feeds()

    def fail_transactions(self, number):
        """Let the feeds' next ones fail; return a list that grows with each that is opened."""
        opened = []

        def counted():
            opened.append(len(opened) < number)
            if opened[-1]:
                raise Unavailable("database")
            return self.store()

        self.feeds._unit_of_work = counted
        return opened

    @asynccontextmanager
    async def looking(self):
        """Look all the time while the block runs, which must not be for long."""

        async def look_on():
            while True:
                await self.look()
                await asyncio.sleep(0)

        task = asyncio.ensure_future(look_on())
        try:
            async with asyncio.timeout(20):
                yield
        finally:
            task.cancel()

    async def read(self, *readers, most=10**9):
        """Let readers go on to the end, cut off after every `most` events."""
        async with self.looking():
            await asyncio.gather(
                *(reader.read_to_the_end(self.watch, self.job.id, most) for reader in readers)
            )


@pytest.fixture
def stage():
    return Stage()


class TestReading:
    async def test_whole_story(self, stage):
        stage.run()
        await stage.say("Hel", "lo")
        await stage.end()
        reader = Reader()
        await stage.read(reader)
        assert reader.types == ["created", "pending", "running", "completed"]
        assert (reader.text, reader.number, reader.gaps, reader.snapshots) == ("Hello", 2, 0, 0)
        assert reader.job.result_text == "Hello"

    async def test_changes_and_deltas_arrive_as_they_come(self, stage):
        reader = Reader()
        async with stage.looking():
            reading = asyncio.ensure_future(reader.read(stage.watch, stage.job.id))
            await until(lambda: reader.types == ["created", "pending"])
            stage.run()
            await until(lambda: reader.attempt == 1)
            await stage.say("Hel")
            await until(lambda: reader.text == "Hel")
            await stage.end()
            await reading
        assert reader.types[-1] == "completed"

    async def test_long_answer_comes_whole(self, stage):
        """More than one page of Redis."""
        stage.run()
        await stage.say(*(f"{n} " for n in range(PAGE * 2 + 3)))
        await stage.end()
        reader = Reader()
        await stage.read(reader)
        assert (reader.number, reader.snapshots) == (PAGE * 2 + 3, 0)

    async def test_second_attempt_counts_alone(self, stage):
        stage.run()
        await stage.say("wrong")
        await stage.fail()
        stage.run()
        await stage.say("right")
        await stage.end()
        reader = Reader()
        await stage.read(reader)
        assert (reader.attempt, reader.text) == (2, "right")

    async def test_after_everything_expired(self, stage):
        """A fresh reader gets the answer in one piece; one that saw some is told of the gap."""
        stage.run()
        await stage.say("a", "b")
        fresh, resuming = Reader(), Reader()
        async with stage.looking():
            await resuming.read(stage.watch, stage.job.id, 4)
        await stage.say("c")
        await stage.end()
        stage.redis.wipe()
        await stage.read(fresh, resuming)
        assert (fresh.text, fresh.number, fresh.gaps, fresh.snapshots) == ("abc", 3, 0, 1)
        assert (resuming.text, resuming.gaps, resuming.snapshots) == ("abc", 1, 1)
        assert stage.metrics.gaps == 1

    async def test_interactive_job_ends_with_a_snapshot(self, stage):
        stage.tell("running", attempt=1)
        done = replace(stage.job, state=JobState.COMPLETED, result_text="Hello")
        stage.store.tables.jobs[stage.job.id] = done
        stage.tell("completed", attempt=1, deltas=4)
        reader = Reader()
        await stage.read(reader)
        assert (reader.text, reader.number, reader.gaps) == ("Hello", 4, 0)

    async def test_long_life_is_looked_up(self, stage):
        """A job that was handed back for an hour has more changes than a feed keeps."""
        for _ in range(300):
            stage.run()
            stage.tell("pending", attempt=stage.attempt)
        stage.run()
        await stage.say("a")
        await stage.end()
        reader = Reader()
        await stage.read(reader)
        assert (reader.seq, reader.text) == (2 + 601 + 1, "a")

    async def test_cancelled_before_it_ran(self, stage):
        cancelled = replace(stage.job, state=JobState.CANCELLED)
        stage.store.tables.jobs[stage.job.id] = cancelled
        stage.tell("cancelled", attempt=0)
        reader = Reader()
        await stage.read(reader, most=1)
        assert (reader.types[-1], reader.cursor) == ("cancelled", "3.0-0")


class TestRetried:
    async def test_reader_of_the_end_resumes(self, stage):
        """X-H15: what was the end is none any more, and nothing is told twice."""
        stage.run()
        await stage.say("wrong")
        await stage.fail_for_good()
        reader = Reader()
        await stage.read(reader)
        assert (reader.job.state, reader.cursor) == (JobState.FAILED, "4.0-0")

        reader.job = None
        stage.retry()
        stage.run()
        await stage.say("right")
        await stage.end()
        await stage.read(reader)
        assert reader.types[3:] == ["failed", "retried", "running", "completed"]
        assert (reader.text, reader.job.admission) == ("right", 2)

    async def test_reader_who_is_still_at_the_old_end_is_in_nobodys_way(self, stage):
        """It reads its end; who comes now gets what is new."""
        stage.run()
        await stage.fail_for_good()
        slow = stage.watch("p1", stage.job.id, "")
        async with stage.looking():
            await anext(slow)
            await until(lambda: stage.feeds._feeds[stage.job.id].story.ended is not None)
            stage.retry()
            stage.run()
            await stage.end()
            reader = Reader()
            await reader.read(stage.watch, stage.job.id)
            ends = [told.event async for told in slow]
        assert reader.types[-3:] == ["retried", "running", "completed"]
        assert ends[-1].job.state is JobState.FAILED
        assert len(stage.feeds) == 0

    async def test_ended_again_between_two_looks(self, stage):
        """The first end is told with what came of it, or not as the end."""
        stage.run()
        await stage.fail_for_good()
        first = stage.store.tables.jobs[stage.job.id]
        reader = Reader()
        reading = asyncio.ensure_future(reader.read(stage.watch, stage.job.id))
        await until(lambda: len(stage.feeds) == 1)
        stage.store.tables.jobs[stage.job.id] = replace(first, admission=2, result_text="late")
        await stage.look()
        assert not reading.done()
        stage.retry()
        stage.run()
        await stage.end(text="late")
        await stage.look()
        await reading
        assert reader.types[-4:] == ["failed", "retried", "running", "completed"]

    async def test_retried_between_two_looks(self, stage):
        """The change was read before, the job after: what is live is told as no end."""
        stage.run()
        await stage.fail_for_good()
        reader = Reader()
        reading = asyncio.ensure_future(reader.read(stage.watch, stage.job.id))
        await until(lambda: len(stage.feeds) == 1)
        stage.job = replace(stage.job, admission=2)
        stage.store.tables.jobs[stage.job.id] = stage.job
        await stage.look()
        assert stage.feeds.wake.is_set()
        assert not reading.done()
        stage.tell("retried", attempt=1, admission=2)
        stage.run()
        await stage.end()
        await stage.look()
        await reading
        assert reader.types[-4:] == ["failed", "retried", "running", "completed"]
        assert reader.job.admission == 2

    async def test_end_that_names_no_admission_is_one(self, stage):
        """Replicas of before wrote none: whoever watches such a job must not wait for ever."""
        stage.run()
        stage.job = replace(stage.job, admission=2, state=JobState.FAILED)
        stage.store.tables.jobs[stage.job.id] = stage.job
        stage.tell("failed", attempt=stage.attempt)
        reader = Reader()
        reading = asyncio.ensure_future(reader.read(stage.watch, stage.job.id))
        await until(lambda: len(stage.feeds) == 1)
        await stage.look()
        await asyncio.wait_for(reading, 5)
        assert reader.job.admission == 2

    async def test_end_long_ago_is_looked_up(self, stage):
        """A feed keeps the last changes; an end before them is one of those that are looked up."""
        stage.run()
        await stage.fail_for_good()
        stage.retry()
        for _ in range(300):
            stage.run()
            stage.tell("pending", attempt=stage.attempt)
        stage.run()
        await stage.end()
        reader = Reader()
        await stage.read(reader)
        assert reader.types[2:5] == ["running", "failed", "retried"]
        assert reader.types[-1] == "completed"


class TestRefusals:
    async def test_foreign_job_looks_absent(self, stage):
        for project, job_id in (("p2", stage.job.id), ("p1", "j9")):
            for cursor in ("", "1", "nonsense"):
                with pytest.raises(JobNotFound):
                    await anext(stage.watch(project, job_id, cursor))
        assert len(stage.feeds) == 0

    @pytest.mark.parametrize("cursor", ["nonsense", "9", "1.1-1", "2.0-0", "3.1-1"])
    async def test_made_up_cursor(self, stage, cursor):
        with pytest.raises(EventCursorInvalid):
            await anext(stage.watch("p1", stage.job.id, cursor))
        assert len(stage.feeds) == 0


class TestLosses:
    async def test_redis_away_from_beginning_to_end(self, stage):
        """Changes still come as they happen, and the answer at the end."""
        stage.redis.is_away = True
        reader = Reader()
        async with stage.looking():
            reading = asyncio.ensure_future(reader.read(stage.watch, stage.job.id))
            stage.run()
            await until(lambda: reader.attempt == 1)
            await stage.say("Hel", "lo")
            await stage.end()
            await reading
        assert (reader.text, reader.gaps) == ("Hello", 0)

    async def test_one_failed_read_at_the_end_is_no_loss(self, stage):
        """Redis may hesitate: only who fails again is away."""
        stage.run()
        reader = Reader()
        reading = asyncio.ensure_future(reader.read(stage.watch, stage.job.id))
        await until(lambda: len(stage.feeds) == 1)
        await stage.say("Hello")
        await stage.end()
        stage.redis.is_away = True
        await stage.look()
        assert stage.feeds.wake.is_set()
        stage.redis.is_away = False
        await stage.look()
        await reading
        assert (reader.text, reader.snapshots) == ("Hello", 0)

    async def test_wipe_while_it_runs(self, stage):
        reader = Reader()
        async with stage.looking():
            reading = asyncio.ensure_future(reader.read(stage.watch, stage.job.id))
            stage.run()
            await stage.say("a", "b")
            await until(lambda: reader.number == 2)
            stage.redis.wipe()
            await stage.say("c")
            await until(lambda: reader.number == 3)
            await stage.say("d")
            await stage.end()
            await reading
        assert (reader.text, reader.gaps, reader.snapshots) == ("abcd", 1, 1)

    async def test_database_away(self, stage):
        """Deltas of what runs go on; changes follow when it is back."""
        reader = Reader()
        async with stage.looking():
            reading = asyncio.ensure_future(reader.read(stage.watch, stage.job.id))
            stage.run()
            await until(lambda: reader.attempt == 1)
            stage.lifecycle.is_away = True
            await stage.say("a")
            await until(lambda: reader.text == "a")
            await stage.end()
            stage.lifecycle.is_away = False
            await reading
        assert reader.types[-1] == "completed"


class TestManyReaders:
    async def test_one_look_for_all(self, stage):
        """Fifty readers of a job cost as many queries as one."""
        stage.run()
        readers = [Reader() for _ in range(50)]
        reading = [
            asyncio.ensure_future(reader.read(stage.watch, stage.job.id)) for reader in readers
        ]
        await until(lambda: stage.metrics.readers == 50)
        assert (len(stage.feeds), stage.metrics.jobs) == (1, 1)
        await stage.say("a")
        await stage.look()
        assert (stage.lifecycle.queries, stage.redis.reads) == (1, 1)
        await until(lambda: all(reader.text == "a" for reader in readers))
        await stage.say("b")
        await stage.end()
        await stage.look()
        await asyncio.gather(*reading)
        assert all(reader.text == "ab" for reader in readers)
        assert (stage.lifecycle.queries, stage.redis.reads) == (2, 2)
        assert (len(stage.feeds), stage.metrics.readers) == (0, 0)

    async def test_jobs_share_the_queries(self, stage):
        jobs = [stage.job, *(a_job() for _ in range(9))]
        for job in jobs[1:]:
            stage.store.tables.jobs[job.id] = job
            stage.lifecycle.tell(job.id, "created")
        readers = [Reader() for _ in jobs]
        reading = [
            asyncio.ensure_future(reader.read(stage.watch, job.id, most=1))
            for reader, job in zip(readers, jobs, strict=True)
        ]
        await until(lambda: stage.metrics.jobs == 10)
        await stage.look()
        await asyncio.gather(*reading)
        assert stage.lifecycle.queries == 1

    async def test_jobs_that_end_together_share_the_queries(self, stage):
        """And where one look fails, the others end nevertheless."""
        jobs = [a_job() for _ in range(2 * ENDED_AT_ONCE)]
        for job in jobs:
            stage.store.tables.jobs[job.id] = replace(job, state=JobState.CANCELLED)
            stage.lifecycle.tell(job.id, "created")
        readers = [Reader() for _ in jobs]
        reading = [
            asyncio.ensure_future(reader.read(stage.watch, job.id))
            for reader, job in zip(readers, jobs, strict=True)
        ]
        await until(lambda: stage.metrics.jobs == len(jobs))
        for job in jobs:
            stage.lifecycle.tell(job.id, "cancelled", attempt=0)
        opened = stage.fail_transactions(1)
        await stage.look()
        assert len(opened) == 2
        await until(lambda: sum(reader.job is not None for reader in readers) == ENDED_AT_ONCE)
        await stage.look()
        await asyncio.gather(*reading)
        assert all(reader.job.state is JobState.CANCELLED for reader in readers)
        assert len(opened) == 3

    async def test_only_what_was_hinted_at_is_looked_at(self, stage):
        stage.run()
        reading = asyncio.ensure_future(Reader().read(stage.watch, stage.job.id))
        await until(lambda: len(stage.feeds) == 1)
        await stage.feeds()
        asked = (stage.lifecycle.queries, stage.redis.reads)
        await stage.feeds()
        assert (stage.lifecycle.queries, stage.redis.reads) == asked
        stage.feeds.wake.clear()
        stage.feeds.told(["j9", stage.job.id])
        assert stage.feeds.wake.is_set()
        await stage.feeds()
        assert (stage.lifecycle.queries, stage.redis.reads) == (asked[0], asked[1] + 1)
        reading.cancel()

    async def test_stalled_reader_is_in_nobodys_way(self):
        """X-H16: it keeps a place and nothing else, and gets a snapshot when it comes back."""
        stage = Stage(window_deltas=8)
        stage.run()
        await stage.say("a")
        stalled, other = Reader(), Reader()
        events = stage.watch("p1", stage.job.id, "")
        async with stage.looking():
            for _ in range(4):
                told = await anext(events)
                stalled.take(told.event, str(told.cursor))
            reading = asyncio.ensure_future(other.read(stage.watch, stage.job.id))
            for n in range(100):
                await stage.say(f"{n} ")
                await until(lambda n=n: other.number == n + 2)
            await stage.end()
            await reading
            async for told in events:
                stalled.take(told.event, str(told.cursor))
        assert (other.gaps, other.snapshots) == (0, 0)
        assert (stalled.gaps, stalled.snapshots) == (1, 1)
        assert stalled.text == other.text == "".join(stage.said)

    async def test_stopping_ends_all_readers(self, stage):
        """They go on elsewhere; the drain waits for none of them."""
        reader = Reader()
        async with stage.looking():
            reading = asyncio.ensure_future(reader.read(stage.watch, stage.job.id))
            await until(lambda: reader.seq == 2)
            stage.feeds.stop()
            with pytest.raises(Unavailable):
                await asyncio.wait_for(reading, 10)
            with pytest.raises(Unavailable):
                await anext(stage.watch("p1", stage.job.id, reader.cursor))
        assert len(stage.feeds) == 0


PIECES = st.text("abcdefgh ", min_size=1, max_size=6)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), PIECES),
        st.tuples(st.just("say"), PIECES),
        st.tuples(
            st.sampled_from(["wipe", "away", "back", "lose reply", "look", "retry", "again"])
        ),
        st.tuples(st.just("turn"), st.integers(1, 6)),
    ),
    max_size=40,
)


async def play(steps, cut, window_deltas):
    """Play the steps while one reader stays, one is cut off and resumes, and one comes late."""
    stage = Stage(window_deltas)
    staying, cut_off, late = Reader(), Reader(), Reader()
    stage.run()

    async def follow(reader, most):
        await reader.read_to_the_end(stage.watch, stage.job.id, most)

    following = [
        asyncio.ensure_future(follow(staying, 10**9)),
        asyncio.ensure_future(follow(cut_off, cut)),
    ]
    for name, *given_ in steps:
        match name:
            case "say":
                await stage.say(*given_)
            case "wipe":
                stage.redis.wipe()
            case "away" | "back":
                stage.redis.is_away = name == "away"
                stage.clock.advance(2)
            case "lose reply":
                stage.redis.lose_next_reply = True
            case "look":
                await stage.look()
            case "retry":
                await stage.fail()
                stage.run()
            case "again":
                await stage.fail_for_good()
                stage.retry()
                stage.run()
            case "turn":
                for _ in range(given_[0]):
                    await asyncio.sleep(0)
    await stage.end()
    await stage.read(late)
    async with stage.looking():
        await asyncio.gather(*following)
    return stage, (staying, cut_off, late)


@settings(max_examples=120, deadline=None)
@given(STEPS, st.integers(1, 5), st.sampled_from([2, 5, 4096]))
def test_every_reader_ends_with_the_whole_answer(steps, cut, window_deltas):
    """Whatever happens to Redis, wherever a reader is cut off; each checks every event."""
    stage, readers = asyncio.run(play(steps, cut, window_deltas))
    whole = "".join(stage.said)
    for reader in readers:
        assert reader.text == whole
        assert reader.job.result_text == (whole or None)
        assert reader.seq == len(stage.lifecycle.records[stage.job.id])


@settings(max_examples=60, deadline=None)
@given(st.lists(PIECES, max_size=20), st.integers(1, 5))
def test_cut_anywhere_without_losses_there_is_no_gap(texts, cut):
    """While Redis keeps what it was given, a resumed story is the story in one piece."""
    steps = [step for text in texts for step in (("say", text), ("look",), ("turn", 3))]
    _, readers = asyncio.run(play(steps, cut, 4096))
    for reader in readers:
        assert (reader.gaps, reader.snapshots, reader.number) == (0, 0, len(texts))
