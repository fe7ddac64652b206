"""Stop taking work and let what runs finish."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from gpu_worker.usecases.announce_worker import AnnounceWorker
from service_kit.errors import ServiceError

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LeaveService:
    """Takes the worker out of the router, then waits for the prompts that run."""

    announce: AnnounceWorker
    drain_seconds: float

    async def __call__(self) -> None:
        """Return once nothing runs here, or after `drain_seconds`."""
        generate = self.announce.generate
        generate.slots.drain()
        try:
            await self.announce.registry.deregister(generate.worker_id)
        except ServiceError as error:
            # The registration runs out by itself, and new work is refused here.
            log.warning("worker.deregistration_failed", reason=error.reason)
        try:
            async with asyncio.timeout(self.drain_seconds):
                await generate.slots.wait_until_idle()
        except TimeoutError:
            log.warning("worker.drain_ended_early", slots_busy=generate.slots.busy)
