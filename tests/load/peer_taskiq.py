"""Empty jobs through taskiq-redis: URL=... python peer_taskiq.py N.

Prints the seconds from the first job until the last one's result is in Redis. A stream, which
keeps what its worker did not acknowledge: the list that is the default loses that.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Any

from taskiq import TaskiqMessage, TaskiqMiddleware, TaskiqResult
from taskiq.api import run_receiver_task
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

AT_ONCE = 32
SECONDS_TO_END = 120


class SavedResults(TaskiqMiddleware):
    """Tells when so many results are in Redis. To ask for each would be most of the work."""

    def __init__(self, wanted: int) -> None:
        super().__init__()
        self._left = wanted
        self.are_all_there = asyncio.Event()

    def post_save(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        result.raise_for_error()
        self._left -= 1
        if self._left == 0:
            self.are_all_there.set()


async def measure(url: str, jobs: int) -> float:
    """Return how long so many empty jobs took, sent and worked off at the same time."""
    saved = SavedResults(jobs)
    broker = RedisStreamBroker(url).with_result_backend(RedisAsyncResultBackend(url))
    broker.add_middlewares(saved)

    @broker.task
    async def nothing() -> None:
        return

    await broker.startup()
    worker = asyncio.create_task(run_receiver_task(broker, max_async_tasks=AT_ONCE))
    started, places = time.perf_counter(), asyncio.Semaphore(AT_ONCE)

    async def send() -> None:
        async with places:
            await nothing.kiq()

    await asyncio.gather(*(send() for _ in range(jobs)))
    async with asyncio.timeout(SECONDS_TO_END):
        await saved.are_all_there.wait()
    seconds = time.perf_counter() - started
    worker.cancel()
    await asyncio.wait([worker])
    await broker.shutdown()
    return seconds


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(measure(os.environ['URL'], int(sys.argv[1])))}\n")
