"""What the service's login role may do with the tables, set after every migration.

The role that owns the tables can always give itself more, so only a service that logs in as
another role than its migrations is really held by this.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote, urlsplit

import structlog
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from cost_service.adapters.tables import APPEND_ONLY, MUTABLE, PRICE_BOOK, READ_ONLY
from service_kit.database import async_url, database_errors

log = structlog.get_logger(__name__)

# Table -> what the login role gets, and what is taken from everybody.
_RIGHTS: Final = {
    **dict.fromkeys(APPEND_ONLY + PRICE_BOOK, ("SELECT, INSERT", {"UPDATE", "DELETE", "TRUNCATE"})),
    **dict.fromkeys(MUTABLE, ("SELECT, INSERT, UPDATE", {"DELETE", "TRUNCATE"})),
    **dict.fromkeys(READ_ONLY, ("SELECT", {"INSERT", "UPDATE", "DELETE", "TRUNCATE"})),
}


def role_of(database_url: SecretStr) -> str:
    """Return the role that a connection URL logs in as."""
    return unquote(urlsplit(database_url.get_secret_value()).username or "")


async def set_grants(owner_url: SecretStr, login_role: str) -> None:
    """Let the login role add and read, change only what has to change, and delete nothing.

    What nobody may do is taken from every role that can, however it came by it.
    """
    engine = create_async_engine(async_url(owner_url), poolclass=NullPool)
    try:
        with database_errors():
            async with engine.begin() as connection:
                await connection.execute(text("SET LOCAL lock_timeout = '5s'"))
                for table, (given, _) in _RIGHTS.items():
                    await connection.execute(
                        text(f"GRANT {given} ON {table} TO {_quoted(login_role)}")
                    )
                for table, right, role in await _too_much(connection):
                    await connection.execute(text(f"REVOKE {right} ON {table} FROM {role}"))
    finally:
        await engine.dispose()
    log.info("migrations.grants_set", role=login_role)


async def _too_much(connection: AsyncConnection) -> list[tuple[str, str, str]]:
    """Return (table, right, quoted role) for every right that is to be taken.

    The owner keeps its rights, which migrations need, but for the append-only tables. (The price
    book's are needed to check the reference from a price to its version; a trigger holds them.)
    """
    found = await connection.execute(
        text(
            """
            SELECT c.relname, a.privilege_type,
                   CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END,
                   a.grantee = c.relowner
            FROM pg_class c
            CROSS JOIN LATERAL aclexplode(c.relacl) a
            LEFT JOIN pg_roles r ON r.oid = a.grantee
            WHERE c.oid = ANY (CAST(CAST(:tables AS text[]) AS regclass[]))
            """
        ),
        {"tables": list(_RIGHTS)},
    )
    return [
        (table, right, role)
        for table, right, role, is_owner in found
        if right in _RIGHTS[table][1] and (table in APPEND_ONLY or not is_owner)
    ]


def _quoted(role: str) -> str:
    return '"' + role.replace('"', '""') + '"'
