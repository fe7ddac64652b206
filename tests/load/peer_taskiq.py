"""Empty jobs through taskiq-redis: URL=... python peer_taskiq.py N.

Prints the seconds from the first job until the last one's result is in Redis. A stream, which
keeps what its worker did not acknowledge: the list that is the default loses that.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

from taskiq import AsyncTaskiqTask
from taskiq.api import run_receiver_task
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

AT_ONCE = 32


async def measure(url: str, jobs: int) -> float:
    """Return how long so many empty jobs took, sent and worked off at the same time."""
    broker = RedisStreamBroker(url).with_result_backend(RedisAsyncResultBackend(url))

    @broker.task
    async def nothing() -> None:
        return

    await broker.startup()
    worker = asyncio.create_task(run_receiver_task(broker, max_async_tasks=AT_ONCE))
    started, places = time.perf_counter(), asyncio.Semaphore(AT_ONCE)

    async def send() -> AsyncTaskiqTask[None]:
        async with places:
            return await nothing.kiq()

    sent = await asyncio.gather(*(send() for _ in range(jobs)))
    await asyncio.gather(*(each.wait_result(check_interval=0.05) for each in sent))
    seconds = time.perf_counter() - started
    worker.cancel()
    await asyncio.wait([worker])
    await broker.shutdown()
    return seconds


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(measure(os.environ['URL'], int(sys.argv[1])))}\n")
