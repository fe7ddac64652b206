"""Rates counted in Redis, for all replicas together; without Redis, in this process."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import structlog
from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from prometheus_client import CollectorRegistry, Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.adapters.local_rates import LocalRates
from gateway.domain.rate import RateLimit, Verdict
from service_kit.clock import Clock

log = structlog.get_logger(__name__)

# A request waits no longer than this for Redis, and then nobody asks it for a while.
TIMEOUT_SECONDS: Final = 0.1
REST_SECONDS: Final = 1.0


class RedisRates:
    """A moving window per identity in Redis.

    Args:
        redis: A client that gives bytes; its pool is used.
        fallback: Counts while Redis is away, knowing what was allowed here before.
        clock: Who tells the time.
        registry: Where calls that were counted by the fallback show.
    """

    def __init__(
        self, redis: Redis, fallback: LocalRates, clock: Clock, registry: CollectorRegistry
    ) -> None:
        storage = RedisStorage(
            # The connections are those of the pool below, wherever they go.
            "async+redis://127.0.0.1:6379",
            implementation="redispy",
            key_prefix="weir:rates",
            # The option is passed on to redis-py as it is.
            connection_pool=redis.connection_pool,  # type: ignore[arg-type]
        )
        self._windows = MovingWindowRateLimiter(storage)
        self._fallback = fallback
        self._clock = clock
        self._resting_until = 0.0
        self._local = Counter(
            "gateway_rates_counted_locally_total",
            "Calls counted in this process because Redis was away.",
            registry=registry,
        )

    async def hit(self, limit: RateLimit, identity: str) -> Verdict:
        if self._clock.monotonic() >= self._resting_until:
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    verdict = await self._hit(limit, identity)
            except (RedisError, OSError, TimeoutError) as error:
                self._resting_until = self._clock.monotonic() + REST_SECONDS
                log.warning("rates.redis_away", error=type(error).__name__)
            else:
                if verdict.allowed:
                    self._fallback.note(limit, identity)
                return verdict
        self._local.inc()
        return await self._fallback.hit(limit, identity)

    async def _hit(self, limit: RateLimit, identity: str) -> Verdict:
        item = RateLimitItemPerMinute(limit.per_minute)
        allowed = await self._windows.hit(item, limit.name, identity)
        stats = await self._windows.get_window_stats(item, limit.name, identity)
        return Verdict(allowed, max(0, stats.remaining), max(0.0, stats.reset_time - time.time()))
