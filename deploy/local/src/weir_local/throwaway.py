"""Postgres and Redis for one test session: embedded, given by address, or in containers."""

import abc
import contextlib
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import redis

from weir_local import databases
from weir_local.blocking import run_blocking
from weir_local.postgres import TEST_SETTINGS, Postgres
from weir_local.valkey import Valkey
from weir_local.warden import Warden


class NotOurs(Exception):
    """A test wants to stop a server that was given by address and may serve others too."""


class PostgresServer(abc.ABC):
    """A Postgres for tests."""

    @property
    @abc.abstractmethod
    def superuser_url(self) -> str:
        """The address of the maintenance database for a superuser."""

    @abc.abstractmethod
    def start(self) -> None:
        """Start it, and return once it answers."""

    @abc.abstractmethod
    def stop(self, mode: str = "fast") -> None:
        """Stop it: `smart`, `fast`, `immediate` or `kill` (SIGKILL)."""

    def restart_immediate(self) -> None:
        """Crash it and start it again at the same address."""
        self.stop("immediate")
        self.start()

    def create_database(self, name: str) -> str:
        """Make an empty database; return its address for the superuser."""
        run_blocking(databases.create_plain_database(self.superuser_url, name))
        return at_database(self.superuser_url, name)


class RedisServer(abc.ABC):
    """A Redis or Valkey for tests."""

    @property
    @abc.abstractmethod
    def url(self) -> str:
        """Its address, with the password."""

    @abc.abstractmethod
    def start(self) -> None:
        """Start it, and return once it answers."""

    @abc.abstractmethod
    def stop(self) -> None:
        """Kill it (SIGKILL)."""

    def flush(self) -> None:
        """Empty the database that `url` names."""
        client = redis.Redis.from_url(self.url)
        try:
            client.flushdb()
        finally:
            client.close()


class EmbeddedPostgres(PostgresServer):
    """Our own server from the wheel. It ends with this process, however that ends."""

    def __init__(self, directory: Path, warden: Warden) -> None:
        self._server = Postgres(
            directory / "postgres",
            secrets.token_urlsafe(18),
            settings=TEST_SETTINGS,
            warden=warden,
        )

    @property
    def superuser_url(self) -> str:
        return self._server.superuser_url

    def start(self) -> None:
        self._server.start()

    def stop(self, mode: str = "fast") -> None:
        self._server.stop(mode)

    def remove(self) -> None:
        self.stop("immediate")
        self._server.remove()


class EmbeddedRedis(RedisServer):
    """Our own Valkey from the wheel. It ends with this process, however that ends."""

    def __init__(self, directory: Path, warden: Warden) -> None:
        self._server = Valkey(
            directory / "valkey",
            secrets.token_urlsafe(18),
            append_only=False,
            warden=warden,
        )

    @property
    def url(self) -> str:
        return self._server.url

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop(number=signal.SIGKILL)


class GivenPostgres(PostgresServer):
    """A server that somebody else runs."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("postgresql+asyncpg://", "postgresql://")

    @property
    def superuser_url(self) -> str:
        return self._url

    def start(self) -> None:
        return

    def stop(self, mode: str = "fast") -> None:
        raise NotOurs(f"This test stops Postgres ({mode}): run it without DATABASE_URL.")


class GivenRedis(RedisServer):
    """A server that somebody else runs."""

    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def url(self) -> str:
        return self._url

    def start(self) -> None:
        return

    def stop(self) -> None:
        raise NotOurs("This test kills Redis: run it without REDIS_URL.")


@contextlib.contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Yield a running Postgres as the environment asks for it."""
    if given := os.environ.get("DATABASE_URL"):
        yield GivenPostgres(given)
        return
    if _containers_wanted():
        from weir_local.containers import ContainerPostgres

        with ContainerPostgres() as in_container:
            yield in_container
        return
    with _directory_with_warden() as (directory, warden):
        server = EmbeddedPostgres(directory, warden)
        try:
            server.start()
            yield server
        finally:
            server.remove()


@contextlib.contextmanager
def redis_server() -> Iterator[RedisServer]:
    """Yield a running Redis or Valkey as the environment asks for it."""
    if given := os.environ.get("REDIS_URL"):
        yield GivenRedis(given)
        return
    if _containers_wanted():
        from weir_local.containers import ContainerRedis

        with ContainerRedis() as in_container:
            yield in_container
        return
    with _directory_with_warden() as (directory, warden):
        server = EmbeddedRedis(directory, warden)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def at_database(url: str, database: str) -> str:
    """Return the same server's address for another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


def as_role(url: str, role: str, password: str) -> str:
    """Return the same database's address for another role; the password must be URL-safe."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{role}:{password}@{host}"))


def _containers_wanted() -> bool:
    if os.environ.get("WEIR_TEST_BACKEND") != "containers":
        return False
    from weir_local.containers import engine_answers

    return engine_answers()


@contextlib.contextmanager
def _directory_with_warden() -> Iterator[tuple[Path, Warden]]:
    """Yield a temporary directory (as root one through which `nobody` may pass) and a warden."""
    directory = Path(tempfile.mkdtemp(prefix="weir-"))
    with Warden() as warden:
        warden.watch_directory(directory)
        try:
            if os.getuid() == 0:
                directory.chmod(0o711)
            yield directory, warden
        finally:
            shutil.rmtree(directory, ignore_errors=True)
