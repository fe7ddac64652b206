"""The public keys of receipts, asked for once however many want them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from weir.job.v1 import job_service_pb2 as pb

from gateway.adapters.job_client import JobClient
from service_kit.clock import Clock

# Anybody may ask, and the list grows with the years. A new key shows after this.
KEPT_SECONDS: Final = 5.0


class KeptReceiptKeys:
    """Returns the list, from memory while it is fresh."""

    def __init__(self, jobs: JobClient, clock: Clock) -> None:
        self._jobs = jobs
        self._clock = clock
        self._keys: Sequence[pb.ReceiptKey] = ()
        self._fresh_until: float | None = None
        self._asking = asyncio.Lock()

    async def __call__(self) -> Sequence[pb.ReceiptKey]:
        """Return every key that signed a receipt, newest first.

        Raises:
            ServiceError: job-service is away.
        """
        async with self._asking:
            if self._fresh_until is None or self._clock.monotonic() >= self._fresh_until:
                self._keys = await self._jobs.list_receipt_keys()
                self._fresh_until = self._clock.monotonic() + KEPT_SECONDS
            return self._keys
