"""Which migrations a database has had, and which its service's code wants."""

import ast
from pathlib import Path

import asyncpg

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
    """Return the newest revisions in a service's code.

    They are read, not imported: Alembic takes seconds to load on a busy machine.
    """
    versions = installed.package_directory(module) / "adapters" / "migrations" / "versions"
    revisions: set[str] = set()
    followed: set[str] = set()
    for file in versions.glob("*.py"):
        values = _assigned(file)
        revisions |= _words(values.get("revision"))
        followed |= _words(values.get("down_revision"))
    return revisions - followed


def _assigned(file: Path) -> dict[str, object]:
    """Return the constants that a module assigns at its top."""
    found: dict[str, object] = {}
    for statement in ast.parse(file.read_text()).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                pass
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                pass
            case _:
                continue
        if name in {"revision", "down_revision"}:
            found[name] = ast.literal_eval(value)
    return found


def _words(value: object) -> set[str]:
    if value is None:
        return set()
    return set(value) if isinstance(value, tuple) else {str(value)}
