"""Wakes loops here, and dispatchers of other replicas through Redis.

A hint that is lost costs a poll, nothing else.
"""

from __future__ import annotations

import asyncio
from typing import Final

from redis.asyncio import Redis

from service_kit.redis_client import redis_errors

CHANNEL: Final = "weir:jobs:due"
LISTEN_SECONDS: Final = 5.0


class RedisHints:
    """The port `Hints`. Saying something costs its caller nothing: a loop carries it to Redis.

    Args:
        publisher: A client with short time limits.
        listener: A client whose reads may wait for `LISTEN_SECONDS` and more.
    """

    def __init__(self, publisher: Redis, listener: Redis) -> None:
        self._publisher = publisher
        self._listener = listener
        self.dispatch = asyncio.Event()
        self.relay = asyncio.Event()
        self.announce = asyncio.Event()
        self._is_due = False

    def work_waits(self) -> None:
        self.dispatch.set()
        self._is_due = True
        self.announce.set()

    def place_freed(self) -> None:
        self.dispatch.set()

    def settlement_waits(self) -> None:
        self.relay.set()

    async def publish(self) -> None:
        """Tell other replicas, once, what was said since the last time."""
        if not self._is_due:
            return
        self._is_due = False
        with redis_errors():
            await self._publisher.publish(CHANNEL, "due")

    async def listen(self) -> None:
        """Wake our dispatcher for as long as Redis is there to tell."""
        async with self._listener.pubsub() as subscription:
            with redis_errors():
                await subscription.subscribe(CHANNEL)
                while True:
                    message = await subscription.get_message(
                        ignore_subscribe_messages=True, timeout=LISTEN_SECONDS
                    )
                    if message is not None:
                        self.dispatch.set()
