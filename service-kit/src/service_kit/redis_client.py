"""Redis: a bounded pool, short timeouts, and one error for "Redis is away".

Redis holds scratch alone. Every use of it has an answer for `RedisUnavailable`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pydantic import SecretStr
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ReadOnlyError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from service_kit.errors import Unavailable

# `OSError` covers the built-in ConnectionError and TimeoutError.
_AWAY: Final = (RedisConnectionError, RedisTimeoutError, BusyLoadingError, ReadOnlyError, OSError)


class RedisUnavailable(Unavailable):
    """Redis does not answer, or not in time."""

    def __init__(self) -> None:
        super().__init__("redis")


def open_redis(
    url: SecretStr | str,
    *,
    max_connections: int = 50,
    timeout_seconds: float = 0.1,
    connect_timeout_seconds: float = 0.5,
    decode_responses: bool = True,
) -> Redis:
    """Return a client; `await client.aclose()` closes it. Nothing connects yet.

    Args:
        url: redis://:password@host:port/db
        max_connections: The most connections; a command waits for a free one.
        timeout_seconds: How long a command may take, and how long it may wait
            for a connection. A blocking read needs a client with a longer one.
        connect_timeout_seconds: How long a connection may take to open.
        decode_responses: Give `str` rather than `bytes`.
    """
    plain = url.get_secret_value() if isinstance(url, SecretStr) else url
    pool = BlockingConnectionPool.from_url(
        plain,
        max_connections=max_connections,
        timeout=timeout_seconds,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=connect_timeout_seconds,
        protocol=2,
        decode_responses=decode_responses,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )
    return Redis.from_pool(pool)


@contextmanager
def redis_errors() -> Iterator[None]:
    """Raise `RedisUnavailable` where redis-py says that the server can't be reached."""
    try:
        yield
    except AuthenticationError:
        raise
    except _AWAY as error:
        raise RedisUnavailable() from error


async def check_redis(client: Redis) -> None:
    """Return if Redis answers; a readiness check."""
    with redis_errors():
        await client.ping()
