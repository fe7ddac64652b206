"""The event streams that are open here: how many each caller has, and when all must end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Gauge

from gateway.entrypoints.errors import draining, too_many_event_streams
from service_kit.errors import ServiceError


class EventStreams:
    """Counts open streams, of SSE and sockets together.

    Args:
        per_caller: How many one caller may have open in this process.
        registry: Where the number of all shows.
    """

    def __init__(self, per_caller: int, registry: CollectorRegistry) -> None:
        self._per_caller = per_caller
        self._open: Counter[str] = Counter()
        self._draining = asyncio.Event()
        gauge = Gauge("gateway_event_streams", "Event streams that are open.", registry=registry)
        gauge.set_function(self._open.total)

    @contextmanager
    def opened(self, caller: str) -> Iterator[None]:
        """Count a stream of somebody while the block runs.

        Raises:
            EdgeError: `TOO_MANY_EVENT_STREAMS`.
        """
        if self._open[caller] >= self._per_caller:
            raise too_many_event_streams(self._per_caller)
        self._open[caller] += 1
        try:
            yield
        finally:
            self._open[caller] -= 1
            if not self._open[caller]:
                del self._open[caller]

    async def until_drained(self) -> ServiceError:
        """Return the reason to end a stream, once this process is about to stop."""
        await self._draining.wait()
        return draining()

    def drain(self) -> None:
        """End all streams, so that their readers go elsewhere."""
        self._draining.set()
