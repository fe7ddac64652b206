"""Stops what a process has started when that process ends, in whatever way.

A warden is a small process that holds the reading end of a pipe and a list. When the other end
closes, because the launcher was killed or forgot, it stops everything on the list, last first.
Unlike PR_SET_PDEATHSIG this does not depend on the thread that started a process.
"""

import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from weir_local.processes import Identity

_SECONDS_TO_STOP = 10.0


class Warden:
    """The launcher's end of it. Use as a context manager, or `start` and `dismiss`."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> Self:
        """Start the small process, unless it runs."""
        if self._process is not None:
            return self
        self._process = subprocess.Popen(
            [sys.executable, "-m", "weir_local.warden"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        return self

    def watch(self, identity: Identity, number: signal.Signals = signal.SIGTERM) -> None:
        """Have a process stopped with this signal, should the launcher end."""
        self._tell(f"process {identity.pid} {identity.started} {int(number)}")

    def watch_directory(self, directory: Path) -> None:
        """Have a directory removed, should the launcher end."""
        self._tell(f"directory {directory}")

    def dismiss(self) -> None:
        """End it without any effect: everything was stopped, or shall go on."""
        if self._process is None or self._process.stdin is None:
            return
        self._tell("dismiss")
        self._process.stdin.close()
        self._process.wait()
        self._process = None

    def _tell(self, line: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.dismiss()


@dataclass
class _Duties:
    processes: list[tuple[Identity, signal.Signals]] = field(default_factory=list)
    directories: list[Path] = field(default_factory=list)

    def fulfil(self) -> None:
        for identity, number in reversed(self.processes):
            identity.stop(number, _SECONDS_TO_STOP)
        for directory in self.directories:
            shutil.rmtree(directory, ignore_errors=True)


def keep_watch(lines: IO[str]) -> None:
    """Read the launcher's lines; at their end do what they ask for, unless dismissed."""
    duties = _Duties()
    for line in lines:
        word, _, rest = line.rstrip("\n").partition(" ")
        if word == "dismiss":
            return
        if word == "directory":
            duties.directories.append(Path(rest))
        elif word == "process":
            pid, started, number = rest.split(" ")
            duties.processes.append((Identity(int(pid), started), signal.Signals(int(number))))
    duties.fulfil()


if __name__ == "__main__":
    keep_watch(sys.stdin)
