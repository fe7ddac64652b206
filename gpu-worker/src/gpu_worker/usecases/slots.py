"""The places of an engine: taken without waiting, refused while draining."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from gpu_worker.domain.errors import WorkerBusy, WorkerDraining


class Slots:
    """Counts prompts that run. Used from the event loop only."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.busy = 0
        self.draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold a slot for the length of the block.

        Raises:
            WorkerDraining: The worker is stopping.
            WorkerBusy: No slot is free.
        """
        if self.draining:
            raise WorkerDraining
        if self.busy >= self.total:
            raise WorkerBusy(self.total)
        self.busy += 1
        self._idle.clear()
        try:
            yield
        finally:
            self.busy -= 1
            if self.busy == 0:
                self._idle.set()

    def drain(self) -> None:
        """Take no more prompts; those that run go on."""
        self.draining = True

    async def wait_until_idle(self) -> None:
        await self._idle.wait()
