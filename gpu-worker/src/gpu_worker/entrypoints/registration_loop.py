"""Keeps this worker announced: renews at a third of the lease, comes back after any loss."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import structlog

from gpu_worker.usecases.announce_worker import AnnounceWorker
from service_kit.errors import ServiceError

log = structlog.get_logger(__name__)

_FIRST_RETRY_SECONDS: Final = 0.25
_LONGEST_RETRY_SECONDS: Final = 2.0
_SHORTEST_PAUSE_SECONDS: Final = 0.1
_RENEWALS_PER_LEASE: Final = 3


class RegistrationLoop:
    """Announces the worker until it is cancelled.

    A router that is away changes nothing for the work at hand: it is tried
    again, soon at first and then every two seconds.

    Args:
        announce: One announcement.
        registered: Told after each of them whether the router knows this worker now.
    """

    def __init__(self, announce: AnnounceWorker, registered: Callable[[bool], None]) -> None:
        self._announce = announce
        self._registered = registered
        self._failed = 0
        self._announced = False

    async def run(self) -> None:
        while True:
            pause = await self.beat()
            await asyncio.sleep(pause)

    async def beat(self) -> float:
        """Announce once and return the seconds until the next time."""
        try:
            lease = await self._announce()
        except ServiceError as error:
            self._registered(False)
            return self._after_failure(error)
        if self._failed or not self._announced:
            log.info("worker.registered", lease_seconds=lease.total_seconds())
        self._failed, self._announced = 0, True
        self._registered(True)
        return max(_SHORTEST_PAUSE_SECONDS, lease.total_seconds() / _RENEWALS_PER_LEASE)

    def _after_failure(self, error: ServiceError) -> float:
        self._failed += 1
        log.warning(
            "worker.registration_failed",
            reason=error.reason,
            error=error.message,
            in_a_row=self._failed,
        )
        pause: float = min(_LONGEST_RETRY_SECONDS, _FIRST_RETRY_SECONDS * 2 ** min(self._failed, 8))
        return pause * random.uniform(0.8, 1.2)  # noqa: S311 -- not a secret


@asynccontextmanager
async def keeping_registered(loop: RegistrationLoop) -> AsyncIterator[None]:
    """Run the loop while the block is open."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(loop.run(), name="registration")
        try:
            yield
        finally:
            task.cancel()
