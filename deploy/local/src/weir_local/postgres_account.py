"""Finds out how Postgres, which refuses to run as root, can be run here.

An ordinary user runs it directly. For root these are tried in order:

1. the user `nobody`;
2. a user namespace in which root looks like `nobody`, for an installation under a directory that
   `nobody` can't enter, such as root's home;
3. `nobody` again, with a copy of the installation, and the data, in a place it can enter.
"""

import hashlib
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from weir_local import installed
from weir_local.processes import Account

OPEN_PLACE = Path("/var/tmp")  # noqa: S108 - a directory of ours in it, owner and mode checked
CLEAN_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


class NoWayToRunPostgres(Exception):
    """Root can neither become `nobody` nor make a user namespace here."""


@dataclass(frozen=True, slots=True)
class Way:
    """How Postgres programs are started on this machine, and where its files are."""

    binaries: Path
    directory: Path
    """Where the data goes."""
    prefix: tuple[str, ...] = ()
    """The words before a program's own."""
    account: Account | None = None
    """The account a program is started as; None for the launcher's own."""
    copied: Path | None = None
    """The directory with the copy of the installation and the data, if there had to be one."""

    @property
    def owner(self) -> Account:
        """Who must own the data directory."""
        return self.account or Account(os.getuid(), os.getgid())


def find_way(directory: Path) -> Way:
    """Return the first way that works for data in `directory`, which must exist."""
    binaries = installed.postgres_installation() / "bin"
    if os.getuid() != 0:
        return Way(binaries, directory)
    ways = (_as_nobody, _in_user_namespace, _copied)
    for make in ways:
        way = make(binaries, directory)
        if way is not None and _works(way):
            return way
    raise NoWayToRunPostgres(
        "Postgres does not run as root, and here root may neither become the user `nobody` nor "
        "make a user namespace. Start Weir as an ordinary user."
    )


def nobody() -> Account:
    """Return the account of the user without rights."""
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return Account(65534, 65534)
    return Account(entry.pw_uid, entry.pw_gid)


def _as_nobody(binaries: Path, directory: Path) -> Way | None:
    return Way(binaries, directory, account=nobody())


def _in_user_namespace(binaries: Path, directory: Path) -> Way | None:
    unshare = shutil.which("unshare", path=CLEAN_ENVIRONMENT["PATH"])
    if unshare is None:
        return None
    mapped = ("--user", f"--map-user={nobody().user}", f"--map-group={nobody().group}")
    return Way(binaries, directory, prefix=(unshare, *mapped, "--"))


def _copied(binaries: Path, directory: Path) -> Way | None:
    place = OPEN_PLACE / f"weir-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]}"
    place.mkdir(mode=0o755, exist_ok=True)
    found = place.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0 or found.st_mode & 0o022:
        raise NoWayToRunPostgres(f"{place} is not a directory that only root may write to.")
    place.chmod(0o755)
    package = binaries.parent.parent
    copy = place / package.name / binaries.parent.name
    if not copy.exists():
        # Beside the programs lie their libraries, found by a path relative to them.
        shutil.copytree(
            package.with_name(f"{package.name}.libs"),
            place / f"{package.name}.libs",
            dirs_exist_ok=True,
        )
        unfinished = copy.with_name(copy.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(binaries.parent, unfinished, symlinks=True)
        unfinished.rename(copy)
    data = place / "postgres"
    data.mkdir(mode=0o700, exist_ok=True)
    return Way(copy / "bin", data, account=nobody(), copied=place)


def _works(way: Way) -> bool:
    """Tell whether the programs start that way and can reach the data directory."""
    enter = ["/bin/sh", "-c", 'cd "$1"', "sh", str(way.directory.parent)]
    return all(
        _succeeds([*way.prefix, *command], way.account)
        for command in (enter, [str(way.binaries / "postgres"), "--version"])
    )


def _succeeds(command: Sequence[str], account: Account | None) -> bool:
    try:
        done = subprocess.run(
            command,
            env=CLEAN_ENVIRONMENT,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=30,
            check=False,
            user=account.user if account else None,
            group=account.group if account else None,
            extra_groups=[] if account else None,
        )
    except OSError:
        return False
    return done.returncode == 0
