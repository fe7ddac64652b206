"""What waits together is sent together, and nothing waits for company."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from gpu_worker.domain.errors import EngineFailed
from gpu_worker.domain.generation import Delta, Embedding, Started
from gpu_worker.entrypoints.delta_batches import MOST_WAITING, in_batches

STARTED = Started("gpu-1", "tiny", "0" * 64)


async def test_deltas_that_wait_together_are_one():
    async def fast():
        yield STARTED
        for number in range(5):
            yield Delta(f"{number}", number)

    given = [event async for event in in_batches(fast())]

    assert given == [STARTED, Delta("01234", 10)]


async def test_other_events_keep_their_place():
    async def mixed():
        yield Delta("a", 1)
        yield Embedding(0, (1.0,))
        yield Embedding(1, (2.0,))
        yield Delta("b", 1)
        yield Delta("", 1)

    given = [event async for event in in_batches(mixed())]

    assert given == [
        Delta("a", 1),
        Embedding(0, (1.0,)),
        Embedding(1, (2.0,)),
        Delta("b", 2),
    ]


async def test_slow_engine_has_each_delta_sent_at_once():
    read = asyncio.Event()

    async def slow():
        for text in ("a", "b", "c"):
            yield Delta(text, 1)
            # Only who has this one gets the next.
            await read.wait()
            read.clear()

    given = []
    async with asyncio.timeout(5):
        async for event in in_batches(slow()):
            given.append(event)
            read.set()

    assert given == [Delta("a", 1), Delta("b", 1), Delta("c", 1)]


async def test_an_error_comes_after_what_was_made_before_it():
    async def failing():
        yield Delta("a", 1)
        yield Delta("b", 1)
        raise EngineFailed

    async with aclosing(in_batches(failing())) as events:
        assert await anext(events) == Delta("ab", 2)
        with pytest.raises(EngineFailed):
            await anext(events)


async def test_whoever_leaves_stops_the_engine():
    closed = asyncio.Event()

    async def endless():
        try:
            yield Delta("a", 1)
            await asyncio.Event().wait()
        finally:
            closed.set()

    async with asyncio.timeout(5), aclosing(in_batches(endless())) as events:
        await anext(events)

    assert closed.is_set()


async def test_engine_waits_for_a_slow_reader():
    made = []

    async def fast():
        for number in range(10 * MOST_WAITING):
            made.append(number)
            yield Delta("a", 1)

    async with aclosing(in_batches(fast())) as events:
        first = await anext(events)
        for _ in range(100):
            await asyncio.sleep(0)

        assert first.tokens <= MOST_WAITING
        # What is in the queue again, and the one that has no room there.
        assert len(made) <= 2 * MOST_WAITING + 1


async def test_engine_that_cancels_itself_ends_the_events():
    """Without a `Finished`, which whoever reads takes for a lost worker."""

    async def cancelled():
        yield Delta("a", 1)
        raise asyncio.CancelledError

    async with asyncio.timeout(5):
        given = [event async for event in in_batches(cancelled())]

    assert given == [Delta("a", 1)]


async def test_error_while_closing_is_told_to_whoever_closes():
    """Also where there is no room for anything more."""

    async def stubborn():
        try:
            for _ in range(10 * MOST_WAITING):
                yield Delta("a", 1)
        finally:
            raise EngineFailed

    async with asyncio.timeout(5):
        events = in_batches(stubborn())
        await anext(events)
        with pytest.raises(EngineFailed):
            await events.aclose()
