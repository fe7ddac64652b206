"""Postgres: an engine with limits, transactions, and one error for "the database is away"."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Final

import asyncpg
from pydantic import SecretStr
from sqlalchemy import MetaData, text
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

from service_kit.errors import Unavailable

NAMING_CONVENTION: Final = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

# SQLSTATEs after which the same transaction may succeed: by class, or one by one.
_RETRIABLE_CLASSES: Final = ("08", "53", "57")
_RETRIABLE_STATES: Final = ("40001", "40P01", "55P03", "25P03")


def new_metadata() -> MetaData:
    """Return metadata that names every constraint alike, so that migrations can name them."""
    return MetaData(naming_convention=NAMING_CONVENTION)


def async_url(url: SecretStr | str) -> URL:
    """Return the URL in the form that SQLAlchemy wants for asyncpg."""
    plain = url.get_secret_value() if isinstance(url, SecretStr) else url
    return make_url(plain).set(drivername="postgresql+asyncpg")


def open_engine(
    url: SecretStr | str,
    *,
    application_name: str,
    pool_size: int = 10,
    pool_timeout: float = 1.0,
    lock_timeout: float = 2.0,
    statement_timeout: float = 5.0,
) -> AsyncEngine:
    """Return an engine; `await engine.dispose()` closes it. Nothing connects yet.

    Args:
        url: postgresql://role:password@host:port/database
        application_name: The service's name, as seen in `pg_stat_activity`.
        pool_size: The most connections it opens.
        pool_timeout: Seconds to wait for one of them, after which it is `Unavailable`.
        lock_timeout: Seconds a statement waits for a row or table.
        statement_timeout: Seconds a statement may take.
    """
    return create_async_engine(
        async_url(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=pool_timeout,
        # A dead connection shows itself at the first statement, which is retried above us;
        # a ping would cost every transaction a round trip.
        pool_pre_ping=False,
        # What a statement was given may be a person's prompt; an error must not print it.
        hide_parameters=True,
        connect_args={
            "timeout": 2.0,
            "server_settings": {
                "application_name": application_name,
                "TimeZone": "UTC",
                "idle_in_transaction_session_timeout": "2000",
                "lock_timeout": _milliseconds(lock_timeout),
                "statement_timeout": _milliseconds(statement_timeout),
                "jit": "off",
            },
        },
    )


def sessions(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    """Return a maker of sessions whose objects stay readable after commit."""
    return async_sessionmaker(engine, expire_on_commit=False)


def autocommit_sessions(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    """Return a maker of sessions in which every statement is a transaction of its own.

    It takes one round trip where `transaction` takes three, from the same pool.
    """
    return async_sessionmaker(
        engine.execution_options(isolation_level="AUTOCOMMIT"), expire_on_commit=False
    )


@asynccontextmanager
async def transaction(maker: async_sessionmaker[AsyncSession]) -> AsyncIterator[AsyncSession]:
    """Run a transaction: committed when the block ends, rolled back when it raises.

    Raises:
        Unavailable: The database is away, out of connections, or gave up on a
            lock or deadlock. The transaction may be tried again; after a lost
            connection it may also have been committed.
    """
    with database_errors():
        async with maker.begin() as session:
            yield session


@contextmanager
def database_errors() -> Iterator[None]:
    """Raise `Unavailable` for what passes by itself; let every other error through."""
    try:
        yield
    except PoolTimeout as error:
        raise Unavailable("database") from error
    except DBAPIError as error:
        if _is_retriable(error):
            raise Unavailable("database") from error
        raise
    except (asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError) as error:
        raise Unavailable("database") from error
    except (ConnectionError, TimeoutError) as error:
        raise Unavailable("database", timedelta(seconds=1)) from error


async def check_database(engine: AsyncEngine) -> None:
    """Return if the database answers; a readiness check."""
    with database_errors():
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))


def _is_retriable(error: DBAPIError) -> bool:
    if error.connection_invalidated:
        return True
    if isinstance(error.orig, AsyncAdapt_asyncpg_dbapi.InvalidCachedStatementError):
        # A migration changed a table under a prepared statement; it is prepared anew.
        return True
    state = str(getattr(error.orig, "sqlstate", None) or "")
    return state.startswith(_RETRIABLE_CLASSES) or state in _RETRIABLE_STATES


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))
