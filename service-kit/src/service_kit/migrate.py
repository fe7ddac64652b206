"""Runs a service's Alembic migrations, one process at a time.

The Alembic environment is here; a service holds `adapters/migrations/versions`
and nothing else.
"""

from __future__ import annotations

import asyncio
import zlib
from importlib.resources import files
from typing import Final

import structlog
from alembic import command
from alembic.config import Config
from pydantic import SecretStr
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from service_kit.database import async_url, database_errors

log = structlog.get_logger(__name__)

# Longer waits would hold up every statement that queues behind the migration.
LOCK_TIMEOUT: Final = "5s"
LOOK_SECONDS: Final = 0.1


def alembic_config(service_module: str) -> Config:
    """Return the configuration for `<service_module>.adapters.migrations`."""
    config = Config()
    config.set_main_option("script_location", str(files("service_kit") / "migrations"))
    versions = files(service_module) / "adapters" / "migrations" / "versions"
    config.set_main_option("version_locations", str(versions).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("file_template", "%%(year)d%%(month).2d%%(day).2d_%%(rev)s_%%(slug)s")
    return config


async def run_migrations(
    service_module: str, database_url: SecretStr | str, *, revision: str = "head"
) -> None:
    """Bring the database to a revision. Others who try at the same time wait their turn.

    Raises:
        Unavailable: The database is away.
    """
    config = alembic_config(service_module)
    engine = create_async_engine(
        async_url(database_url),
        poolclass=NullPool,
        connect_args={
            "timeout": 5.0,
            "server_settings": {"application_name": f"{service_module}-migrate", "TimeZone": "UTC"},
        },
    )
    try:
        with database_errors():
            async with engine.connect() as connection:
                await _take_turn(connection, zlib.crc32(service_module.encode()))
                await connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
                await connection.commit()
                await connection.run_sync(_upgrade, config, revision)
                await connection.commit()
                # The lock goes with the connection, which is closed right here.
    finally:
        await engine.dispose()
    log.info("migrations.done", module=service_module, revision=revision)


async def _take_turn(connection: AsyncConnection, lock_id: int) -> None:
    """Return when no other process migrates.

    Asked for again and again: who waited for the lock in Postgres would do so in a transaction, for
    which an index that is built concurrently waits in turn.
    """
    taking = text("SELECT pg_try_advisory_lock(:id)")
    while not await connection.scalar(taking, {"id": lock_id}):
        await connection.commit()
        await asyncio.sleep(LOOK_SECONDS)


def _upgrade(connection: Connection, config: Config, revision: str) -> None:
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
