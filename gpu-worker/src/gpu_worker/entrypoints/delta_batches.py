"""Send what the engine made while the last message was on its way as one message.

Each message costs every service on its way the same, however little it holds. An engine that is
slower than its reader has each delta sent at once, as before: nothing ever waits for company.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from typing import Final, TypeVar

from gpu_worker.domain.generation import Delta, GenerationEvent

# Events that may wait for a slow reader before the engine waits too.
MOST_WAITING: Final = 64

Event = TypeVar("Event")


async def in_batches(
    events: AsyncGenerator[GenerationEvent, None],
) -> AsyncGenerator[GenerationEvent, None]:
    """Give the same events in the same order, deltas that wait together joined into one.

    Closing the generator closes `events`; what they raise comes after all they gave.
    """
    queue: asyncio.Queue[GenerationEvent | Exception | None] = asyncio.Queue(MOST_WAITING)
    reading = asyncio.create_task(_read(events, queue))
    try:
        while True:
            for event in _joined(await _all_that_waits(queue)):
                if event is None:
                    return
                if isinstance(event, Exception):
                    raise event
                yield event
    finally:
        reading.cancel()
        await asyncio.wait({reading})


async def _read(
    events: AsyncGenerator[GenerationEvent, None],
    queue: asyncio.Queue[GenerationEvent | Exception | None],
) -> None:
    """Put every event into the queue, then what ended them: an error, or `None`."""
    end: Exception | None = None
    try:
        async with aclosing(events):
            async for event in events:
                await queue.put(event)
    except Exception as error:
        end = error
    await queue.put(end)


async def _all_that_waits(queue: asyncio.Queue[Event]) -> Sequence[Event]:
    waiting = [await queue.get()]
    while not queue.empty():
        waiting.append(queue.get_nowait())
    return waiting


def _joined(
    waiting: Sequence[GenerationEvent | Exception | None],
) -> Iterator[GenerationEvent | Exception | None]:
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
