"""Postgres and Redis for tests in containers, for WEIR_TEST_BACKEND=containers.

The ports are chosen here, not by the engine, so that a restarted container keeps its address.
"""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import asyncpg
import docker  # type: ignore[import-untyped]
import docker.errors  # type: ignore[import-untyped]
import redis
from testcontainers.postgres import PostgresContainer
from testcontainers.redis import RedisContainer

from weir_local import ports
from weir_local.blocking import run_blocking
from weir_local.throwaway import PostgresServer, RedisServer

POSTGRES_IMAGE = "postgres:16-alpine"
REDIS_IMAGE = "redis:7-alpine"
_SIGNALS = {"smart": "SIGTERM", "fast": "SIGINT", "immediate": "SIGQUIT", "kill": "SIGKILL"}


def engine_answers() -> bool:
    """Tell whether a container engine answers here."""
    try:
        client = docker.from_env()
        client.ping()
    except docker.errors.DockerException:
        return False
    client.close()
    return True


class ContainerPostgres(PostgresServer):
    """The official image."""

    def __init__(self) -> None:
        port = ports.choose()
        self._container = PostgresContainer(POSTGRES_IMAGE, driver=None)
        self._container.with_bind_ports(5432, port)

    @property
    def superuser_url(self) -> str:
        return str(self._container.get_connection_url())

    def start(self) -> None:
        self._container.get_wrapped_container().start()
        _wait(lambda: run_blocking(_connect(self.superuser_url)))

    def stop(self, mode: str = "fast") -> None:
        wrapped = self._container.get_wrapped_container()
        wrapped.kill(_SIGNALS[mode])
        wrapped.wait(timeout=30)

    def __enter__(self) -> Self:
        self._container.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._container.stop()


class ContainerRedis(RedisServer):
    """The official image."""

    def __init__(self) -> None:
        port = ports.choose()
        self._container = RedisContainer(REDIS_IMAGE)
        self._container.with_bind_ports(6379, port)
        self._url = f"redis://{ports.LOOPBACK}:{port}/0"

    @property
    def url(self) -> str:
        return self._url

    def start(self) -> None:
        self._container.get_wrapped_container().start()
        _wait(self._ping)

    def stop(self) -> None:
        wrapped = self._container.get_wrapped_container()
        wrapped.kill("SIGKILL")
        wrapped.wait(timeout=30)

    def _ping(self) -> None:
        client = redis.Redis.from_url(self._url)
        try:
            client.ping()
        finally:
            client.close()

    def __enter__(self) -> Self:
        self._container.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._container.stop()


async def _connect(url: str) -> None:
    connection = await asyncpg.connect(url, timeout=5)
    await connection.close()


def _wait(answers: Callable[[], None], seconds: float = 30.0) -> None:
    """Call until it raises nothing; after the deadline let its last error through."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return answers()
        except (OSError, asyncpg.CannotConnectNowError, redis.ConnectionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
