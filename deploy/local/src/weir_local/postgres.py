"""Runs the Postgres that the wheel carries: as root or not, from any path, with a password."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import asyncpg
import psutil

from weir_local import ports
from weir_local.blocking import run_blocking
from weir_local.postgres_account import CLEAN_ENVIRONMENT, Way, find_way
from weir_local.processes import Account, Identity, spawn, tail
from weir_local.warden import Warden

SUPERUSER = "weir"
SCRAM = "scram_iterations"
STOP_SIGNALS = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
    "kill": signal.SIGKILL,
}
DURABLE_SETTINGS: Mapping[str, str] = {
    "max_connections": "300",
    "shared_buffers": "128MB",
    "wal_compression": "on",
    "max_wal_size": "1GB",
    "log_lock_waits": "on",
}
# For tests. A commit still waits until its log is handed to the kernel, so killing Postgres loses
# nothing that was committed; only a power cut would. Passwords are random and live for minutes, so
# each of thousands of connections may prove that it knows one without 4,096 rounds of hashing.
TEST_SETTINGS: Mapping[str, str] = {
    **DURABLE_SETTINGS,
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    SCRAM: "1",
}


class PostgresFailed(Exception):
    """Postgres could not be prepared or started."""


@dataclass
class Postgres:
    """One database server with its data below `directory`, listening on loopback.

    `port` is the one to use if it is free; afterwards it is the one in use.
    """

    directory: Path
    password: str
    port: int | None = None
    settings: Mapping[str, str] = field(default_factory=lambda: DURABLE_SETTINGS)
    log: Path | None = None
    warden: Warden | None = None
    _way: Way | None = None

    def __post_init__(self) -> None:
        self.directory = self.directory.absolute()
        self._log = self.log or self.directory.with_name("postgres.log")

    @property
    def superuser_url(self) -> str:
        """The address of the maintenance database for the superuser."""
        return self.url("postgres", SUPERUSER, self.password)

    @property
    def data(self) -> Path:
        """The data directory; as root it may lie outside `directory`."""
        return self._how().directory / "data"

    def url(self, database: str, role: str, password: str) -> str:
        """Return the address of a database for a role."""
        secret = quote(password, safe="")
        return f"postgresql://{role}:{secret}@{ports.LOOPBACK}:{self.port}/{database}"

    def find_process(self) -> Identity | None:
        """Return the server that runs on this data directory, or None."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return None
        identity = Identity.of(int(lines[0])) if lines and lines[0].isdigit() else None
        if identity is None or not _serves(identity.pid, self.data):
            return None
        if len(lines) > 3:
            self.port = int(lines[3])
        return identity

    def start(self, seconds: float = 60.0) -> Identity:
        """Make the cluster the first time, start the server, return once it answers."""
        running = self.find_process()
        if running is None:
            self._initialise()
        process = self._launch(running, time.monotonic() + seconds)
        self._check_password()
        return process

    def stop(self, mode: str = "fast", seconds: float = 15.0) -> None:
        """Stop the server if it runs: `smart`, `fast`, `immediate`, or `kill` (SIGKILL)."""
        process = self.find_process()
        if process is None:
            return
        backends = process.descendants()
        process.stop(STOP_SIGNALS[mode], seconds)
        for backend in backends:  # they notice that the server is gone, but perhaps not at once
            if not backend.wait(3.0):
                backend.send(signal.SIGKILL)

    def restart_immediate(self) -> None:
        """Stop the server as in a crash and start it again on the same port; it recovers."""
        self.stop("immediate")
        self.start()

    def remove(self) -> None:
        """Delete the server's files, wherever they had to be."""
        for place in (self.directory, self._how().directory, self._how().copied):
            if place is not None:
                shutil.rmtree(place, ignore_errors=True)

    def _how(self) -> Way:
        if self._way is None:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._way = find_way(self.directory)
            _give(self._way.directory, self._way.owner)
        return self._way

    def _initialise(self) -> None:
        if (self.data / "PG_VERSION").exists():
            return
        # Built aside and renamed when complete: a first start that is killed leaves no half
        # cluster behind.
        unfinished = self.data.with_name("data.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        with _password_file(self.data.parent, self.password, self._how().owner) as password_file:
            self._run(
                "initdb",
                f"--pgdata={unfinished}",
                f"--username={SUPERUSER}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                # Built into Postgres: the same everywhere, whatever the C library offers.
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--locale=C",
                "--no-instructions",
                *(["--no-sync"] if self.settings.get("fsync") == "off" else []),
                # Of the settings that are given when it starts, the one that counts already here.
                *(
                    f"--set={name}={value}"
                    for name, value in self.settings.items()
                    if name == SCRAM
                ),
            )
        unfinished.rename(self.data)

    def _run(self, program: str, *arguments: str) -> None:
        way = self._how()
        done = subprocess.run(
            [*way.prefix, str(way.binaries / program), *arguments],
            env=CLEAN_ENVIRONMENT,
            cwd=way.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=120,
            check=False,
            user=way.account.user if way.account else None,
            group=way.account.group if way.account else None,
            extra_groups=[] if way.account else None,
        )
        if done.returncode != 0:
            raise PostgresFailed(f"{program} failed:\n{done.stdout.strip()}")

    def _launch(self, process: Identity | None, deadline: float) -> Identity:
        """Return a server that is ready, starting one (again) while something may still pass."""
        while True:
            process = process or self._spawn()
            while process.is_running():
                if self._is_ready(process):
                    return process
                if time.monotonic() > deadline:
                    process.stop(signal.SIGQUIT, 3.0)
                    raise PostgresFailed(f"Postgres did not get ready. {self._last_words()}")
                time.sleep(0.01)
            process = None
            # The remains of a killed server still end, or somebody took the port meanwhile.
            passing = ("is still in use", "Address already in use")
            words = tail(self._log, 8)
            if time.monotonic() > deadline or not any(each in words for each in passing):
                raise PostgresFailed(f"Postgres ended at once. {self._last_words()}")
            time.sleep(0.1)

    def _spawn(self) -> Identity:
        way = self._how()
        self._forget_recycled_pid()
        self.port = ports.keep_or_choose(self.port)
        settings = {"listen_addresses": ports.LOOPBACK, "unix_socket_directories": ""}
        settings |= self.settings
        process = spawn(
            [
                *way.prefix,
                *(str(way.binaries / "postgres"), "-D", str(self.data), "-p", str(self.port)),
                *(part for each in settings.items() for part in ("-c", "=".join(each))),
            ],
            environment=CLEAN_ENVIRONMENT,
            log=self._log,
            directory=self.data,
            account=way.account,
        )
        if self.warden is not None:
            self.warden.watch(process, signal.SIGINT)
        return process

    def _is_ready(self, process: Identity) -> bool:
        """Tell whether the server says so itself, in the eighth line of its pid file."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[0] == str(process.pid) and lines[7].strip() == "ready"

    def _forget_recycled_pid(self) -> None:
        """Remove the pid file of a killed server whose pid another program has by now.

        Postgres would take that program for a running server and refuse to start. That no server
        of this directory runs is known here, and Postgres still checks its shared memory.
        """
        pid_file = self.data / "postmaster.pid"
        if pid_file.exists() and self.find_process() is None:
            pid_file.unlink(missing_ok=True)

    def _check_password(self) -> None:
        try:
            run_blocking(_ask(self.superuser_url))
        except asyncpg.InvalidPasswordError as error:
            raise PostgresFailed(
                f"The database in {self.data} was made with another password. Put the password "
                f"back, or remove {self.directory} to begin with an empty database."
            ) from error

    def _last_words(self) -> str:
        return f"The end of {self._log}:\n{tail(self._log)}"


async def _ask(url: str) -> None:
    connection = await asyncpg.connect(url, timeout=10)
    await connection.close()


def _serves(pid: int, data: Path) -> bool:
    """Tell whether the process is a Postgres server whose working directory is `data`."""
    try:
        process = psutil.Process(pid)
        return "postgres" in process.name() and Path(process.cwd()).samefile(data)
    except (psutil.Error, OSError):
        # Ended, or somebody else's: a server of ours could be looked at.
        return False


def _give(directory: Path, owner: Account) -> None:
    """Make `directory` and everything in it the owner's, and closed to others."""
    directory.chmod(0o700)
    if os.getuid() != 0 or directory.stat().st_uid == owner.user:
        return
    for path in (directory, *directory.rglob("*")):
        os.chown(path, owner.user, owner.group, follow_symlinks=False)


@contextlib.contextmanager
def _password_file(directory: Path, password: str, owner: Account) -> Iterator[Path]:
    path = directory / "password"
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(password)
        if os.getuid() == 0:
            os.chown(path, owner.user, owner.group)
        yield path
    finally:
        path.unlink(missing_ok=True)
