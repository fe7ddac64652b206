"""Exchange an API key for an internal token, and keep it while it lives."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Final

from gateway.domain.credentials import ApiKey
from gateway.usecases.ports import ApiKeyExchange, InternalToken
from service_kit.clock import Clock

# Room for the calls that are made with the token.
MARGIN: Final = timedelta(seconds=10)
MAX_KEPT: Final = 10_000


class ExchangeApiKey:
    """Returns an API key's internal token, from memory until shortly before it expires.

    Keys are known by their SHA-256 only. Requests that come while a key is
    being exchanged share that one exchange. Whoever uses the token verifies it,
    and calls `forget` when it was denied.
    """

    def __init__(self, exchange: ApiKeyExchange, clock: Clock) -> None:
        self._exchange = exchange
        self._clock = clock
        self._kept: OrderedDict[bytes, InternalToken] = OrderedDict()
        self._running: dict[bytes, asyncio.Task[InternalToken]] = {}

    async def __call__(self, key: ApiKey) -> str:
        """Return the token.

        Raises:
            ServiceError: `API_KEY_REFUSED`, or auth-service is away.
        """
        digest = key.digest
        kept = self._kept.get(digest)
        if kept is not None and self._is_fresh(kept.expires_at):
            self._kept.move_to_end(digest)
            return kept.token
        running = self._running.get(digest)
        if running is None:
            running = asyncio.create_task(self._run(digest, key.secret))
            self._running[digest] = running
            running.add_done_callback(lambda _: self._running.pop(digest, None))
        # One client that leaves must not take the exchange away from the others.
        return (await asyncio.shield(running)).token

    def forget(self, key: ApiKey) -> None:
        """Drop what is kept for a key, because its token was refused."""
        self._kept.pop(key.digest, None)

    async def _run(self, digest: bytes, secret: str) -> InternalToken:
        token = await self._exchange.exchange_api_key(secret)
        if self._is_fresh(token.expires_at):
            self._kept[digest] = token
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return token

    def _is_fresh(self, expires_at: datetime) -> bool:
        return expires_at - MARGIN > self._clock.now()
