"""Which migrations a database has had, and which its service's code wants."""

import asyncpg
from alembic.script import ScriptDirectory

from weir_local import installed


async def present(url: str) -> set[str]:
    """Return the revisions that the database is at."""
    connection = await asyncpg.connect(url, timeout=5)
    try:
        if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
            return set()
        rows = await connection.fetch("SELECT version_num FROM alembic_version")
    finally:
        await connection.close()
    return {row["version_num"] for row in rows}


def wanted(module: str) -> set[str]:
    """Return the newest revisions in a service's code."""
    migrations = installed.package_directory(module) / "adapters" / "migrations"
    directory = ScriptDirectory(
        str(installed.package_directory("service_kit") / "migrations"),
        version_locations=[str(migrations / "versions")],
    )
    return set(directory.get_heads())
