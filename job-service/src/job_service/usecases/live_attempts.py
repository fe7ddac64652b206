"""Which attempts run in this process, so that they can be told to stop, or to look again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from job_service.usecases.execute_attempt import StopReason, StopSignal


class LiveAttempts:
    """The attempts of this process."""

    def __init__(self) -> None:
        self._job_ids: dict[StopSignal, str] = {}
        self._none_left = asyncio.Event()
        self._none_left.set()
        self._is_stopping = False

    def __len__(self) -> int:
        return len(self._job_ids)

    @contextmanager
    def holding(self, job_id: str, signal: StopSignal) -> Iterator[None]:
        """Count a job's attempt while the block runs."""
        self._job_ids[signal] = job_id
        self._none_left.clear()
        if self._is_stopping:
            signal.ask(StopReason.SHUTDOWN)
        try:
            yield
        finally:
            del self._job_ids[signal]
            if not self._job_ids:
                self._none_left.set()

    def look_again(self, job_id: str) -> None:
        """Have a job renew its lease now, and so see what is asked of it, if it runs here."""
        for signal, running in self._job_ids.items():
            if running == job_id:
                signal.wake()

    async def drain(self, seconds: float) -> None:
        """Let attempts finish for so long, then tell the rest to stop, and wait for them."""
        try:
            async with asyncio.timeout(seconds):
                await self._none_left.wait()
        except TimeoutError:
            self._is_stopping = True
            for signal in self._job_ids:
                signal.ask(StopReason.SHUTDOWN)
            await self._none_left.wait()
