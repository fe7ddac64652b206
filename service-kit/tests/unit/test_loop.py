"""Background loops: steady, patient with others' failures, loud about their own."""

import asyncio
import time
from itertools import pairwise

import pytest

from service_kit.errors import Unavailable
from service_kit.loop import PeriodicLoop, running
from service_kit.metrics import new_registry


class Ticks:
    """Counts rounds, fails as told, and lets a test wait for a number of them."""

    def __init__(self, *failures):
        self.times = []
        self._failures = list(failures)

    async def __call__(self):
        self.times.append(time.monotonic())
        if self._failures:
            failure = self._failures.pop(0)
            if failure is not None:
                raise failure

    async def reached(self, count):
        async with asyncio.timeout(5):
            while len(self.times) < count:  # noqa: ASYNC110 -- a condition with a deadline
                await asyncio.sleep(0.001)


async def test_loop_ticks_at_once_and_again():
    """The first round does not wait; the others follow."""
    ticks = Ticks()
    async with running(PeriodicLoop("x", 0.01, ticks)):
        await ticks.reached(3)


async def test_loop_ends_with_its_block():
    """Nothing ticks after the block is left."""
    ticks = Ticks()
    async with running(PeriodicLoop("x", 0.001, ticks)):
        await ticks.reached(2)
    seen = len(ticks.times)
    await asyncio.sleep(0.02)

    assert len(ticks.times) == seen


async def test_loop_can_be_woken():
    """Setting the event brings the next round at once."""
    ticks, wake = Ticks(), asyncio.Event()
    async with running(PeriodicLoop("x", 3600, ticks, wake=wake)):
        await ticks.reached(1)
        wake.set()
        await ticks.reached(2)


async def test_wake_during_a_tick_is_not_lost():
    """Work that arrives while a round runs gets a round of its own."""
    wake, rounds = asyncio.Event(), []

    async def tick():
        rounds.append(1)
        if len(rounds) == 1:
            wake.set()

    async with running(PeriodicLoop("x", 3600, tick, wake=wake)), asyncio.timeout(5):
        while len(rounds) < 2:  # noqa: ASYNC110 -- likewise
            await asyncio.sleep(0.001)


async def test_expected_failure_is_counted_and_repeated():
    """A dependency that is away costs a round, not the service."""
    registry = new_registry("x")
    ticks = Ticks(Unavailable("database"), Unavailable("database"))
    async with running(PeriodicLoop("sweeper", 0.001, ticks, registry=registry)):
        await ticks.reached(4)

    assert registry.get_sample_value("loop_tick_failures_total", {"loop": "sweeper"}) == 2


async def test_repeated_failures_slow_the_loop_down():
    """Rounds that fail in a row come further and further apart."""
    ticks = Ticks(None, *[Unavailable("database")] * 5)
    async with running(PeriodicLoop("x", 0.02, ticks, jitter=0)):
        await ticks.reached(6)
    times = ticks.times[1:]
    pauses = [later - earlier for earlier, later in pairwise(times)]

    assert pauses[0] < 0.06
    assert pauses[3] > 0.15


async def test_first_round_is_tried_again_soon():
    """What starts beside the service it needs does not wait a whole period for it."""
    ticks = Ticks(Unavailable("auth-service"))
    async with running(PeriodicLoop("x", 60, ticks, jitter=0)):
        await ticks.reached(2)

    assert ticks.times[1] - ticks.times[0] < 5


async def test_bug_takes_the_service_down():
    """Any other exception ends the block that owns the loop."""
    ticks = Ticks(None, KeyError("bug"))
    with pytest.raises(ExceptionGroup) as caught:
        async with running(PeriodicLoop("x", 0.001, ticks)):
            await asyncio.sleep(3600)

    assert isinstance(caught.value.exceptions[0], KeyError)


async def test_block_error_ends_the_loops():
    """An error in the block comes out, and no loop is left behind."""
    ticks = Ticks()
    with pytest.raises((ValueError, ExceptionGroup)):
        async with running(PeriodicLoop("x", 0.001, ticks)):
            raise ValueError("x")
    assert len(asyncio.all_tasks()) == 1


async def test_loop_ends_although_a_library_swallows_the_cancellation():
    """A tick that loses a cancellation, as `asyncio.wait_for` can, is the last one."""
    inside = asyncio.Event()

    async def swallow():
        inside.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return

    async with asyncio.timeout(5):
        async with running(PeriodicLoop("x", 0.001, swallow)):
            await inside.wait()
