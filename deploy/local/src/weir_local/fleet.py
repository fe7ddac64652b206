"""The processes of a stack beside its servers: starts them, waits, stops exactly those."""

import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import psutil

from weir_local import readiness
from weir_local.processes import Identity, spawn, tail
from weir_local.progress import Progress
from weir_local.services import HOME_VARIABLE, Program
from weir_local.state import RecordedProcess, State
from weir_local.warden import Warden

SECONDS_TO_STOP = 15.0


class ServiceFailed(Exception):
    """A service ended, or did not get ready in time."""


class Fleet:
    """Knows its processes by what the state file records of them."""

    def __init__(
        self, home: Path, state: State, state_file: Path, warden: Warden | None = None
    ) -> None:
        self._home = home
        self._state = state
        self._state_file = state_file
        self._warden = warden

    def log(self, name: str) -> Path:
        """Return where a process of that name writes its log."""
        return self._home / "logs" / f"{name}.log"

    def find(self, name: str) -> Identity | None:
        """Return the running process of that name, or None."""
        recorded = self._state.processes.get(name)
        if recorded is None or not recorded.identity.is_running():
            return None
        return recorded.identity

    def is_current(self, program: Program) -> bool:
        """Tell whether it runs, with the settings it would be given now."""
        recorded = self._state.processes.get(program.name)
        return (
            recorded is not None
            and recorded.fingerprint == program.fingerprint
            and recorded.identity.is_running()
        )

    def start(self, program: Program) -> Identity:
        """Start a process, in place of one that runs under the same name."""
        self.stop([program.name])
        process = spawn(
            [sys.executable, "-m", program.module],
            environment=program.environment,
            log=self.log(program.name),
            directory=self._home,
        )
        self._state.processes[program.name] = RecordedProcess(
            process.pid, process.started, program.fingerprint
        )
        self._state.save(self._state_file)
        if self._warden is not None:
            self._warden.watch(process)
        return process

    def wait_until_ready(self, urls: Mapping[str, str], seconds: float, progress: Progress) -> None:
        """Wait until every process says that it is ready, at its address in `urls`.

        Raises:
            ServiceFailed: One of them ended, or time is up; the message has its last log lines.
        """
        begun = time.monotonic()
        waiting = dict(urls)
        for name in waiting:
            progress.begun(name)
        while waiting:
            for name, url in list(waiting.items()):
                answer = readiness.ask_at(url)
                elapsed = time.monotonic() - begun
                if self.find(name) is None:
                    raise ServiceFailed(f"{name} ended. {self._last_words(name)}")
                if answer.ready:
                    progress.done(name, elapsed)
                    del waiting[name]
                elif elapsed > seconds:
                    raise ServiceFailed(
                        f"{name} was not ready after {seconds:.0f} s: {answer.reason}. "
                        f"{self._last_words(name)}"
                    )
            if waiting:
                time.sleep(0.05)

    def wait_for_a_model(self, is_served: Callable[[], bool], worker: str, seconds: float) -> None:
        """Wait until a worker has announced its model, so that the first prompt is answered.

        Raises:
            ServiceFailed: None did in time; the message has the worker's last log lines.
        """
        deadline = time.monotonic() + seconds
        while not is_served():
            if time.monotonic() > deadline:
                raise ServiceFailed(
                    f"No model is served after {seconds:.0f} s. {self._last_words(worker)}"
                )
            time.sleep(0.05)

    def stop(self, names: Iterable[str], seconds: float = SECONDS_TO_STOP) -> None:
        """Ask these processes to stop, all at once; kill those that do not."""
        found = {name: process for name in names if (process := self.find(name)) is not None}
        for process in found.values():
            process.send(signal.SIGTERM)
            process.send(signal.SIGCONT)  # one that was paused could not hear it
        deadline = time.monotonic() + seconds
        for process in found.values():
            if not process.wait(max(0.0, deadline - time.monotonic())):
                process.send(signal.SIGKILL)
                process.wait(5.0)
        for name in found:
            self._state.processes.pop(name, None)
        if found:
            self._state.save(self._state_file)

    def kill(self, name: str) -> None:
        """Kill a process (SIGKILL), and return when it is gone."""
        process = self.find(name)
        if process is not None:
            process.send(signal.SIGKILL)
            process.wait(5.0)

    def stop_strays(self) -> None:
        """Kill processes of this stack that the state does not know of.

        There is one only if a launcher was killed between starting it and writing that down.
        """
        known = {each.pid for each in self._state.processes.values()}
        for process in psutil.process_iter():
            identity = Identity.of(process.pid)
            if identity is None or process.pid in known:
                continue
            if _home_of(process) == str(self._home):
                identity.stop(seconds=5.0)

    def _last_words(self, name: str) -> str:
        log = self.log(name)
        return f"The end of {log}:\n{tail(log)}"


def _home_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(HOME_VARIABLE)
    except (psutil.Error, OSError):
        return None  # ended, or another user's
