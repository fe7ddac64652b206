"""Which attempts run in this process, so that they can be told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from job_service.usecases.execute_attempt import StopReason, StopSignal


class LiveAttempts:
    """The attempts of this process."""

    def __init__(self) -> None:
        self._signals: set[StopSignal] = set()
        self._none_left = asyncio.Event()
        self._none_left.set()
        self._is_stopping = False

    def __len__(self) -> int:
        return len(self._signals)

    @contextmanager
    def holding(self, signal: StopSignal) -> Iterator[None]:
        """Count an attempt while the block runs."""
        self._signals.add(signal)
        self._none_left.clear()
        if self._is_stopping:
            signal.ask(StopReason.SHUTDOWN)
        try:
            yield
        finally:
            self._signals.discard(signal)
            if not self._signals:
                self._none_left.set()

    async def drain(self, seconds: float) -> None:
        """Let attempts finish for so long, then tell the rest to stop, and wait for them."""
        try:
            async with asyncio.timeout(seconds):
                await self._none_left.wait()
        except TimeoutError:
            self._is_stopping = True
            for signal in self._signals:
                signal.ask(StopReason.SHUTDOWN)
            await self._none_left.wait()
