"""Alembic's environment for every service.

`migrate.run_migrations` gives the connection. From the command line (with a
service's alembic.ini) the address is `DATABASE_URL`, and `metadata` in the ini
file ("job_service.adapters.tables:Table.metadata") is what autogenerate compares with.
"""

from __future__ import annotations

import asyncio
import os
from importlib import import_module
from operator import attrgetter

from alembic import context
from sqlalchemy import Connection, MetaData
from sqlalchemy.ext.asyncio import create_async_engine

from service_kit.database import async_url


def target_metadata() -> MetaData | None:
    place = context.config.get_main_option("metadata")
    if not place:
        return None
    module, _, name = place.partition(":")
    found = attrgetter(name)(import_module(module))
    assert isinstance(found, MetaData)
    return found


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=target_metadata(),
        transaction_per_migration=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def run_from_command_line() -> None:
    engine = create_async_engine(async_url(os.environ["DATABASE_URL"]))
    async with engine.begin() as connection:
        await connection.run_sync(run)
    await engine.dispose()


given: Connection | None = context.config.attributes.get("connection")
if given is None:
    asyncio.run(run_from_command_line())
else:
    run(given)
