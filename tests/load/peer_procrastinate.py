"""Empty jobs through procrastinate: URL=... python peer_procrastinate.py N.

Prints the seconds from the first job's row until the last one's success is stored.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

import procrastinate

AT_ONCE = 32


async def measure(url: str, jobs: int) -> float:
    """Return how long so many empty jobs took, deferred and worked off at the same time."""
    app = procrastinate.App(
        connector=procrastinate.PsycopgConnector(conninfo=url, min_size=1, max_size=10)
    )

    @app.task
    async def nothing() -> None:
        return

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        options = {"concurrency": AT_ONCE, "install_signal_handlers": False}
        worker = asyncio.create_task(app.run_worker_async(**options))
        started, places = time.perf_counter(), asyncio.Semaphore(AT_ONCE)

        async def defer() -> None:
            async with places:
                await nothing.defer_async()

        await asyncio.gather(*(defer() for _ in range(jobs)))
        await until_succeeded(app, jobs)
        seconds = time.perf_counter() - started
        worker.cancel()
        await asyncio.wait([worker])
    return seconds


async def until_succeeded(app: procrastinate.App, jobs: int) -> None:
    """Return when so many jobs are done, and are known to be."""
    while True:
        if len(list(await app.job_manager.list_jobs_async(status="succeeded"))) >= jobs:
            return
        await asyncio.sleep(0.05)


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(measure(os.environ['URL'], int(sys.argv[1])))}\n")
