"""Puts a bundle into the directory that one container will mount, read-only."""

import os
from collections.abc import Mapping
from pathlib import Path

from weir_local.files import write_private

# Postgres, Redis and Grafana run as users of their own, and get our group besides.
FILE_MODE = 0o440
DIRECTORY_MODE = 0o750


def hand_out(files: Mapping[str, Path], place: Path) -> None:
    """Make the directory hold exactly these files; those that are right already stay untouched.

    Args:
        files: What to copy, by its path below `place`.
        place: The directory.
    """
    place.mkdir(parents=True, exist_ok=True)
    place.chmod(DIRECTORY_MODE)
    for name, source in files.items():
        target = place / name
        target.parent.mkdir(exist_ok=True)
        target.parent.chmod(DIRECTORY_MODE)
        if not (target.exists() and target.read_bytes() == source.read_bytes()):
            write_private(target, source.read_bytes())
        target.chmod(FILE_MODE)
        # The newest of several signing keys signs, here as in the vault.
        modified = source.stat().st_mtime
        os.utime(target, (modified, modified))
    wanted = {place / name for name in files}
    for found in place.rglob("*"):
        if found.is_file() and found not in wanted:
            found.unlink()
