"""One database per service, with an owner for its migrations and a lesser role for its service.

The owner role makes the tables. The login role of the service may read and write rows and nothing
else, and a migration may take more away from it (the ledger: no UPDATE, no DELETE). Neither can
connect to another service's database. `weir_audit` may read everything and write nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import asyncpg

SERVICES = ("auth_service", "job_service", "cost_service")
AUDIT_ROLE = "weir_audit"
# A frozen process must not keep a row locked, nor wait for one for ever.
SERVICE_ROLE_SETTINGS = {"idle_in_transaction_session_timeout": "2s", "lock_timeout": "3s"}
OWNER_ROLE_SETTINGS = {"lock_timeout": "10s"}
AUDIT_ROLE_SETTINGS = {"default_transaction_read_only": "on"}


@dataclass(frozen=True, slots=True)
class ServiceRoles:
    """The two roles of one service; the login role is named like the service's module."""

    login: str
    login_password: str
    owner_password: str

    @property
    def owner(self) -> str:
        """The role that owns the database and runs its migrations."""
        return f"{self.login}_owner"


async def prepare_roles(
    superuser_url: str, roles: Mapping[str, ServiceRoles], audit_password: str
) -> None:
    """Make the roles, or set their passwords and limits again; may be repeated."""
    connection = await asyncpg.connect(superuser_url)
    try:
        for each in roles.values():
            await _role(connection, each.login, each.login_password, SERVICE_ROLE_SETTINGS)
            await _role(connection, each.owner, each.owner_password, OWNER_ROLE_SETTINGS)
        await _role(connection, AUDIT_ROLE, audit_password, AUDIT_ROLE_SETTINGS)
        await connection.execute(f"GRANT pg_read_all_data TO {AUDIT_ROLE}")
    finally:
        await connection.close()


async def prepare_database(
    superuser_url: str, roles: ServiceRoles, database: str, template: str | None = None
) -> bool:
    """Make a service's database, unless it is there, with who may do what in it.

    Return whether it was made now. A template must have been prepared the same way.
    """
    connection = await asyncpg.connect(superuser_url)
    try:
        found = await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", database)
        if not found:
            # Postgres' usual way logs each page of a copy; this costs tests a tenth.
            copied = f"TEMPLATE {_name(template)} STRATEGY FILE_COPY" if template else ""
            await connection.execute(
                f"CREATE DATABASE {_name(database)} OWNER {_name(roles.owner)} {copied}"
            )
        await connection.execute(
            f"REVOKE ALL ON DATABASE {_name(database)} FROM PUBLIC;"
            f"GRANT CONNECT ON DATABASE {_name(database)} TO {_name(roles.login)}, {AUDIT_ROLE}"
        )
    finally:
        await connection.close()
    if not template:
        await _grant_rows(superuser_url, roles, database)
    return not found


async def drop_database(superuser_url: str, database: str) -> None:
    """Delete a database, disconnecting whoever still uses it."""
    connection = await asyncpg.connect(superuser_url)
    try:
        await connection.execute(f"DROP DATABASE IF EXISTS {_name(database)} WITH (FORCE)")
    finally:
        await connection.close()


async def create_plain_database(superuser_url: str, database: str) -> None:
    """Make an empty database owned by the superuser."""
    connection = await asyncpg.connect(superuser_url)
    try:
        await connection.execute(f"CREATE DATABASE {_name(database)}")
    finally:
        await connection.close()


async def _grant_rows(superuser_url: str, roles: ServiceRoles, database: str) -> None:
    """Give the login role the rows of all tables that the owner will make."""
    inside = superuser_url.rpartition("/")[0] + f"/{database}"
    connection = await asyncpg.connect(inside)
    owner, login = _name(roles.owner), _name(roles.login)
    try:
        await connection.execute(
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {owner} "
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {login};"
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {owner} "
            f"GRANT USAGE, SELECT, UPDATE ON SEQUENCES TO {login}"
        )
    finally:
        await connection.close()


async def _role(
    connection: "asyncpg.Connection[asyncpg.Record]",
    name: str,
    password: str,
    settings: Mapping[str, str],
) -> None:
    found = await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", name)
    verb = "ALTER" if found else "CREATE"
    await connection.execute(
        f"{verb} ROLE {_name(name)} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE "
        f"PASSWORD {_text(password)}"
    )
    for setting, value in settings.items():
        await connection.execute(f"ALTER ROLE {_name(name)} SET {setting} = {_text(value)}")


def _name(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _text(value: str) -> str:
    if "\0" in value or "\\" in value:
        raise ValueError("A password may hold neither a backslash nor a zero byte.")
    return "'" + value.replace("'", "''") + "'"
