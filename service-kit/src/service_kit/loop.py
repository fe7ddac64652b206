"""Work that a service repeats in the background."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import structlog
from prometheus_client import CollectorRegistry

from service_kit.errors import ServiceError
from service_kit.metrics import kit_metrics

log = structlog.get_logger(__name__)

# Services start together: what the first tick needs is there in a moment.
FIRST_BACKOFF_SECONDS = 0.25
# A loop is back soon after what it needs is back.
MAX_BACKOFF_SECONDS = 5.0


class Loop(Protocol):
    """Work without an end, which is cancelled."""

    @property
    def name(self) -> str: ...

    async def run(self) -> None: ...


class PeriodicLoop:
    """Calls `tick` again and again until it is cancelled.

    A tick that raises `ServiceError` (the database is away, the other service
    refuses) is logged, counted and tried again: soon as long as no tick ever
    went well, afterwards later each time it fails in a row. Any other exception
    is a bug: it comes out of `run` and takes the service down, which beats a
    loop that is silently dead.

    Args:
        name: For logs and metrics: "lease-sweeper".
        every_seconds: The pause after a tick that went well.
        tick: One round. It should be short, and may be repeated.
        jitter: By what fraction a pause may differ, so that replicas do not tick together.
        wake: Set it to make the next tick come at once.
        registry: Where failures are counted, if given.
    """

    def __init__(
        self,
        name: str,
        every_seconds: float,
        tick: Callable[[], Awaitable[object]],
        *,
        jitter: float = 0.1,
        wake: asyncio.Event | None = None,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self.name = name
        self._every_seconds = every_seconds
        self._tick = tick
        self._jitter = jitter
        self._wake = wake or asyncio.Event()
        self._failures = kit_metrics(registry).loop_failures.labels(name) if registry else None

    async def run(self) -> None:
        """Tick now, and then after every pause."""
        failed = 0
        started = False
        while True:
            self._wake.clear()
            try:
                await self._tick()
                failed = 0
                started = True
            except ServiceError as error:
                failed += 1
                self._note(error, failed)
            _leave_if_cancelled()
            await self._pause(failed, started)

    def _note(self, error: ServiceError, failed: int) -> None:
        log.warning(
            "loop.tick_failed",
            loop=self.name,
            reason=error.reason,
            error=error.message,
            in_a_row=failed,
        )
        if self._failures is not None:
            self._failures.inc()

    async def _pause(self, failed: int, started: bool) -> None:
        seconds = self._every_seconds
        if failed and not started:
            soon = FIRST_BACKOFF_SECONDS * 2 ** min(failed - 1, 16)
            seconds = min(soon, max(seconds, MAX_BACKOFF_SECONDS))
        elif failed > 1:
            seconds = max(seconds, min(MAX_BACKOFF_SECONDS, seconds * 2 ** min(failed - 1, 16)))
        seconds *= 1 + random.uniform(-self._jitter, self._jitter)  # noqa: S311 -- not a secret
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return


def _leave_if_cancelled() -> None:
    """Raise a cancellation that the tick swallowed, or the loop would go on for ever.

    `asyncio.wait_for` of Python 3.11 loses one that comes just when its wait is
    over; redis-py waits with it, which a frozen or restarted Redis brings to light.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


@asynccontextmanager
async def running(*loops: Loop) -> AsyncIterator[None]:
    """Run the loops while the block is open, and cancel them when it is left.

    A loop that fails cancels the block and comes out as an `ExceptionGroup`.
    """
    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(loop.run(), name=loop.name) for loop in loops]
        try:
            yield
        finally:
            for task in started:
                task.cancel()
