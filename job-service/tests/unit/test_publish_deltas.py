"""Answers on their way to Redis: batched, sent twice if need be, never in an attempt's way."""

import asyncio

import pytest
from event_fakes import FakeDeltas, WokenPublisher
from job_fakes import until

from job_service.domain.answer import Entry
from job_service.usecases.publish_deltas import (
    KEEP_ENDED_SECONDS,
    KEEP_RUNNING_SECONDS,
    MOST_CHARACTERS,
    DeltaPublisher,
)
from service_kit.testing.clock import FixedClock


class Attempt:
    """An attempt that remembers what it said."""

    def __init__(self, publisher, job_id="j1", attempt=1):
        self.said = []
        self.deltas = publisher.open(job_id, attempt, lambda: "".join(self.said))

    def say(self, text):
        self.said.append(text)
        self.deltas.add(text)


class Setup:
    def __init__(self):
        self.store, self.clock = FakeDeltas(), FixedClock()
        self.publisher = WokenPublisher(self.store, self.clock)
        self.attempt = Attempt(self.publisher)

    async def say(self, *texts):
        """Say these in one go, and write."""
        for text in texts:
            self.attempt.say(text)
        await self.publisher.flush()

    def stream(self, job_id="j1"):
        return [entry for _, entry in self.store.streams.get(job_id, [])]

    def redis_is_away(self, is_away):
        self.store.is_away = is_away
        self.clock.advance(2)


@pytest.fixture
def setup():
    return Setup()


async def test_text_between_two_writes_is_one_delta(setup):
    await setup.say("Hel", "lo")
    await setup.say(" wor", "ld", "")
    assert setup.stream() == [Entry(1, "Hello"), Entry(2, " world")]
    assert setup.store.kept == {"j1": KEEP_RUNNING_SECONDS}


async def test_all_jobs_share_a_round_trip(setup):
    others = [Attempt(setup.publisher, f"j{n}") for n in range(2, 30)]
    for each in others:
        each.say("Hi")
    setup.publisher.jobs_changed(["j9"])
    await setup.say("Hi")
    assert setup.store.writes == 1
    assert setup.store.hints == [({f"j{n}" for n in range(1, 30)}, {"j9"})]


async def test_nothing_to_say_costs_nothing(setup):
    await setup.publisher()
    assert await setup.attempt.deltas.close() == 0
    assert setup.store.writes == 0


async def test_first_word_goes_out_at_once(setup):
    """The loop waits only after it wrote."""
    setup.attempt.say("Hi")
    running = asyncio.ensure_future(setup.publisher())
    await asyncio.sleep(0)
    await until(lambda: setup.stream() == [Entry(1, "Hi")], seconds=0.04)
    await running


async def test_much_text_does_not_wait(setup):
    setup.attempt.say("Hi")
    running = asyncio.ensure_future(setup.publisher())
    await until(lambda: setup.store.writes == 1)
    setup.attempt.say("x" * 20_000)
    await until(lambda: setup.store.writes == 2, seconds=0.04)
    await running


async def test_close_writes_the_rest_and_counts(setup):
    await setup.say("Hel")
    setup.attempt.say("lo")
    assert await setup.attempt.deltas.close() == 2
    assert setup.stream() == [Entry(1, "Hel"), Entry(2, "lo")]
    assert setup.store.kept == {"j1": KEEP_ENDED_SECONDS}


async def test_attempts_that_end_together_share_a_round_trip(setup):
    """None waits for the write of another."""
    ending = [Attempt(setup.publisher, f"j{n}") for n in range(2, 30)]
    for each in ending:
        each.say("Hi")
    await asyncio.gather(*(each.deltas.close() for each in ending))
    assert setup.store.writes == 1
    assert all(setup.stream(each.deltas.job_id) == [Entry(1, "Hi")] for each in ending)


async def test_end_does_not_wait_long_for_redis(setup, monkeypatch):
    """What hangs is left to the loop."""
    never = asyncio.Event()

    async def hang(batches, changed):
        await never.wait()
        return await FakeDeltas.write(setup.store, batches, changed)

    monkeypatch.setattr(setup.store, "write", hang)
    setup.attempt.say("Hi")
    writing = asyncio.ensure_future(setup.publisher())
    async with asyncio.timeout(10):
        setup.attempt.deltas.has_ended = True
        await DeltaPublisher.finish(setup.publisher, setup.attempt.deltas)
    assert setup.stream() == []
    never.set()
    await writing
    assert setup.stream() == [Entry(1, "Hi")]


async def test_lost_reply_writes_nothing_twice(setup):
    """The same number always means the same text."""
    setup.store.lose_next_reply = True
    await setup.say("a")
    setup.clock.advance(2)
    await setup.say("b")
    await setup.say("c")
    assert setup.stream() == [Entry(1, "a"), Entry(2, "b"), Entry(3, "c")]


async def test_short_absence_loses_nothing(setup):
    await setup.say("a")
    setup.redis_is_away(True)
    await setup.say("b")
    await setup.say("c")
    setup.redis_is_away(False)
    await setup.say("d")
    assert "".join(entry.text for entry in setup.stream()) == "abcd"
    assert not any(entry.is_snapshot for entry in setup.stream())


async def test_wipe_is_noticed_and_answered_with_a_snapshot(setup):
    await setup.say("a")
    await setup.say("b")
    setup.store.wipe()
    await setup.say("c")
    await setup.say("d")
    assert setup.stream() == [Entry(3, "abc", is_snapshot=True), Entry(4, "d")]


async def test_stream_of_a_later_attempt_is_left_alone(setup):
    """Whoever lost the lease without knowing it says no more."""
    await setup.say("old")
    second = Attempt(setup.publisher, attempt=2)
    second.say("new")
    await setup.publisher.flush()
    await setup.say("older")
    await setup.say("older")
    assert setup.stream() == [Entry(1, "new")]


async def test_nobody_waits_while_redis_is_away(setup):
    """One try a second for the whole process, and none by attempts that end."""
    setup.redis_is_away(True)
    await setup.say("a")
    await setup.say("b")
    assert await setup.attempt.deltas.close() == 2
    assert setup.store.writes == 1


async def test_ended_attempts_are_not_kept(setup):
    setup.redis_is_away(True)
    setup.attempt.say("a")
    running = asyncio.ensure_future(setup.publisher.flush())
    await asyncio.sleep(0)
    await setup.attempt.deltas.close()
    await running
    assert setup.publisher._waiting == {}


async def test_memory_is_bounded_while_redis_is_away(setup):
    """What is too much to keep is let go of, and comes back in one piece."""
    setup.redis_is_away(True)
    for _ in range(100):
        await setup.say("x" * 5000)
    deltas = setup.attempt.deltas
    assert sum(map(len, [*deltas._sealed, *deltas._open])) <= MOST_CHARACTERS
    setup.redis_is_away(False)
    await setup.say("y")
    await setup.say("z")
    assert setup.stream() == [
        Entry(setup.attempt.deltas.count - 1, "x" * 500_000 + "y", is_snapshot=True),
        Entry(setup.attempt.deltas.count, "z"),
    ]


async def test_loop_goes_on_when_redis_is_back(setup):
    setup.store.is_away = True
    setup.attempt.say("a")
    setup.clock = setup.publisher._clock
    running = asyncio.ensure_future(setup.publisher())
    await until(lambda: setup.store.writes == 1)
    setup.redis_is_away(False)
    await until(lambda: setup.stream() == [Entry(1, "a")])
    await running
