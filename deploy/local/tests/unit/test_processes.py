"""Processes are recognised, and only those are ever signalled."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from weir_local.processes import Identity, rotate, spawn, tail

SLEEP = "import time; time.sleep(60)"
DEAF = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('deaf', flush=True); time.sleep(60)"
)


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with ours."""
    process = subprocess.Popen([sys.executable, "-c", SLEEP])
    yield process
    process.kill()
    process.wait()


def start(code: str, directory: Path) -> Identity:
    return spawn(
        [sys.executable, "-c", code], environment={}, log=directory / "log", directory=directory
    )


def test_a_recycled_pid_is_left_alone(bystander: subprocess.Popen[bytes]) -> None:
    """A pid that another program has by now is neither called running nor signalled."""
    remembered = Identity(bystander.pid, "0:1")

    assert not remembered.is_running()
    assert remembered.stop()
    remembered.send(signal.SIGKILL)

    assert bystander.poll() is None


def test_a_process_that_ended_is_not_running(tmp_path: Path) -> None:
    """Also while nobody has asked for its exit status yet."""
    process = start("pass", tmp_path)

    assert process.wait(10)
    assert not process.is_running()


def test_a_polite_process_stops_by_itself(tmp_path: Path) -> None:
    """SIGTERM is enough for it."""
    process = start(SLEEP, tmp_path)

    assert process.is_running()
    assert process.stop(seconds=10)
    assert not process.is_running()


def test_a_deaf_process_is_killed(tmp_path: Path) -> None:
    """One that ignores SIGTERM is gone all the same."""
    process = start(DEAF, tmp_path)
    while "deaf" not in tail(tmp_path / "log"):
        assert process.is_running()

    assert not process.stop(seconds=0.2)
    assert not process.is_running()


def test_a_process_is_in_a_session_of_its_own(tmp_path: Path) -> None:
    """Ctrl-C in the launcher's terminal does not reach it."""
    process = start("import os; print(os.getsid(0) == os.getpid())", tmp_path)

    assert process.wait(10)
    assert tail(tmp_path / "log") == "True"


def test_logs_are_private(tmp_path: Path) -> None:
    """Nobody else can read what a service writes."""
    start("pass", tmp_path).wait(10)

    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_a_long_log_is_put_aside(tmp_path: Path) -> None:
    """At most two files of about the limit stay."""
    log = tmp_path / "log"
    log.write_text("x" * 11)

    rotate(log, limit_bytes=10)

    assert not log.exists()
    assert (tmp_path / "log.1").read_text() == "x" * 11
    log.write_text("short")
    rotate(log, limit_bytes=10)
    assert log.read_text() == "short"


def test_tail_gives_the_last_lines(tmp_path: Path) -> None:
    """Of a long log as of one that is not there."""
    log = tmp_path / "log"
    assert tail(log) == ""
    log.write_text("\n".join(map(str, range(50_000))))

    assert tail(log, 2) == "49998\n49999"
