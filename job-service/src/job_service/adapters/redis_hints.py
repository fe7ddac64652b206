"""Wakes loops here, and what runs in other replicas through Redis.

A hint that is lost costs a poll, or the time to a lease's next renewal; nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from redis.asyncio import Redis

from service_kit.redis_client import redis_errors

DUE: Final = "weir:jobs:due"
# Each message is the id of a job that is to stop.
CANCEL: Final = "weir:jobs:cancel"
LISTEN_SECONDS: Final = 5.0


class RedisHints:
    """The port `Hints`. Saying something costs its caller nothing: a loop carries it to Redis.

    Args:
        publisher: A client with short time limits.
        listener: A client whose reads may wait for `LISTEN_SECONDS` and more.
        stop_here: Has an attempt in this process see that its job was asked to stop.
    """

    def __init__(self, publisher: Redis, listener: Redis, stop_here: Callable[[str], None]) -> None:
        self._publisher = publisher
        self._listener = listener
        self._stop_here = stop_here
        self.dispatch = asyncio.Event()
        self.relay = asyncio.Event()
        self.announce = asyncio.Event()
        self._is_due = False
        self._cancelled: set[str] = set()

    def work_waits(self) -> None:
        self.dispatch.set()
        self._is_due = True
        self.announce.set()

    def place_freed(self) -> None:
        self.dispatch.set()

    def settlement_waits(self) -> None:
        self.relay.set()

    def cancel_requested(self, job_id: str) -> None:
        self._stop_here(job_id)
        self._cancelled.add(job_id)
        self.announce.set()

    async def publish(self) -> None:
        """Tell other replicas, once, what was said since the last time."""
        is_due, self._is_due = self._is_due, False
        cancelled, self._cancelled = self._cancelled, set()
        with redis_errors():
            if is_due:
                await self._publisher.publish(DUE, "due")
            for job_id in cancelled:
                await self._publisher.publish(CANCEL, job_id)

    async def listen(self) -> None:
        """Take hints from other replicas for as long as Redis is there to tell."""
        async with self._listener.pubsub() as subscription:
            with redis_errors():
                await subscription.subscribe(DUE, CANCEL)
                while True:
                    message = await subscription.get_message(
                        ignore_subscribe_messages=True, timeout=LISTEN_SECONDS
                    )
                    if message is None:
                        continue
                    if message["channel"] == CANCEL:
                        self._stop_here(message["data"])
                    else:
                        self.dispatch.set()
