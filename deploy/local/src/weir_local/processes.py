"""Starts processes, recognises them again, and stops exactly those.

A pid alone may have been given to another program since, so a process is known by its pid and the
moment it started; nothing else is ever signalled.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

LOG_LIMIT_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class Account:
    """The operating system's account that a program runs as."""

    user: int
    group: int


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, told apart from any later one with the same pid."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> "Identity | None":
        """Return the identity of the process that has this pid now, or None."""
        started = _started(pid)
        return None if started is None else cls(pid, started)

    def is_running(self) -> bool:
        """Tell whether this very process still runs (a zombie does not)."""
        _reap(self.pid)
        return _started(self.pid) == self.started

    def send(self, number: signal.Signals) -> None:
        """Send a signal, to this process only and never to a successor of its pid."""
        if not self.is_running():
            return
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return

    def wait(self, seconds: float) -> bool:
        """Wait until it has ended; False if it still runs after `seconds`."""
        deadline = time.monotonic() + seconds
        pause = 0.005
        while self.is_running():
            if time.monotonic() >= deadline:
                return False
            time.sleep(pause)
            pause = min(pause * 1.5, 0.05)
        return True

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 10.0) -> bool:
        """Ask it to stop, kill it after `seconds`; True if it stopped by itself."""
        descendants = self.descendants()
        self.send(number)
        by_itself = self.wait(seconds)
        if not by_itself:
            self.send(signal.SIGKILL)
            self.wait(5.0)
            for each in descendants:
                each.send(signal.SIGKILL)
        return by_itself

    def descendants(self) -> "list[Identity]":
        """Return the processes it has started and that still run."""
        if not self.is_running():
            return []
        try:
            children = psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        return [found for child in children if (found := Identity.of(child.pid)) is not None]


def spawn(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    log: Path,
    directory: Path,
    account: Account | None = None,
) -> Identity:
    """Start a command in its own session, its output going to `log`, its files private."""
    rotate(log)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = subprocess.Popen(
            list(command),
            env=dict(environment),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
            umask=0o077,
            user=account.user if account else None,
            group=account.group if account else None,
            extra_groups=[] if account else None,
        )
    finally:
        os.close(descriptor)
    # Ended already: the log has the reason, and the caller will see that it does not run.
    started = _started(process.pid) or "ended"
    # The child outlives this object on purpose; `_reap` collects it.
    process.returncode = 0
    return Identity(process.pid, started)


def rotate(log: Path, limit_bytes: int = LOG_LIMIT_BYTES) -> None:
    """Put a log that has grown past the limit aside as `<name>.1`, over an older one."""
    if log.exists() and log.stat().st_size > limit_bytes:
        log.replace(log.with_name(log.name + ".1"))


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 64_000))
        text = file.read().decode("utf-8", errors="replace")
    return "\n".join(text.splitlines()[-lines:])


def _started(pid: int) -> str | None:
    """Return when the process started, or None if there is none (or only a zombie).

    On Linux this is the kernel's own tick count: a wall clock that is set back or forward does
    not make a process look like another one.
    """
    if sys.platform == "linux":
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # Threads may still hold ports after the first one has become a zombie.
        ended = fields[0] in {"Z", "X"} and int(fields[17]) <= 1
        return None if ended else f"{_boot()}:{fields[19]}"
    try:
        process = psutil.Process(pid)
        ended = process.status() == psutil.STATUS_ZOMBIE
        return None if ended else f"{process.create_time():.2f}"
    except psutil.NoSuchProcess:
        return None


@cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]


def _reap(pid: int) -> None:
    """Collect the exit status if it was our own child, so that no zombie stays."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
