"""Send what the engine made while the last message was on its way as one message.

Each message costs every service on its way the same, however little it holds. An engine that is
slower than its reader has each delta sent at once, as before: nothing ever waits for company.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from typing import Final

from gpu_worker.domain.generation import Delta, GenerationEvent

# Events that may wait for a slow reader before the engine waits too.
MOST_WAITING: Final = 64


async def in_batches(
    events: AsyncGenerator[GenerationEvent, None],
) -> AsyncGenerator[GenerationEvent, None]:
    """Give the same events in the same order, deltas that wait together joined into one.

    Closing the generator closes `events`; what they raise comes after all they gave.
    """
    queue: asyncio.Queue[GenerationEvent] = asyncio.Queue(MOST_WAITING)
    news = asyncio.Event()
    # No task group, which would wrap the engine's errors, and the closing of this generator, too.
    reading = asyncio.create_task(_read(events, queue, news))
    reading.add_done_callback(lambda _: news.set())
    try:
        while True:
            while queue.empty() and not reading.done():
                news.clear()
                await news.wait()
            waiting = [queue.get_nowait() for _ in range(queue.qsize())]
            if not waiting:
                break
            for event in _joined(waiting):
                yield event
    finally:
        reading.cancel()
        await asyncio.wait({reading})
        if not reading.cancelled():
            reading.result()


async def _read(
    events: AsyncGenerator[GenerationEvent, None],
    queue: asyncio.Queue[GenerationEvent],
    news: asyncio.Event,
) -> None:
    async with aclosing(events):
        async for event in events:
            await queue.put(event)
            news.set()


def _joined(waiting: Sequence[GenerationEvent]) -> Iterator[GenerationEvent]:
    deltas: list[Delta] = []
    for event in waiting:
        if isinstance(event, Delta):
            deltas.append(event)
            continue
        yield from _one(deltas)
        deltas = []
        yield event
    yield from _one(deltas)


def _one(deltas: Sequence[Delta]) -> Iterator[Delta]:
    if deltas:
        yield Delta("".join(delta.text for delta in deltas), sum(delta.tokens for delta in deltas))
