"""Brings every service's database to its newest schema, side by side."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from weir_local.processes import tail


class MigrationFailed(Exception):
    """`python -m <module> migrate` ended with an error."""


def migrate(owner_url_files: Mapping[str, Path], logs: Path, settings: Mapping[str, str]) -> None:
    """Run `python -m <module> migrate` for each module, as the role that owns its tables.

    Args:
        owner_url_files: For each module the file with the database's address for that role.
        logs: The directory for what the migrations say.
        settings: Further settings to pass.
    """
    running = []
    for module, file in owner_url_files.items():
        log = logs / f"{module.replace('_', '-')}-migrate.log"
        running.append((module, _start(module, file, log, settings), log))
    failed = []
    try:
        for module, process, log in running:
            if process.wait(timeout=120) != 0:
                failed.append(f"python -m {module} migrate failed:\n{tail(log)}")
    finally:
        for _, process, _ in running:
            if process.poll() is None:
                process.kill()
                process.wait()
    if failed:
        raise MigrationFailed("\n".join(failed))


def _start(
    module: str, url_file: Path, log: Path, settings: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    environment = {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        **settings,
        "MIGRATION_DATABASE_URL_FILE": str(url_file),
    }
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", module, "migrate"],
            env=environment,
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
