"""The commands behind `make up`, `doctor`, `demo`, `logs` and `down`, with the real services."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from weir_local import readiness
from weir_local.stack import Stack

# A whole stack starts in the time of the first test that asks for it, and stops in the last one's.
pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True)
class Shell:
    """A directory in which commands are given; nothing runs in it at first."""

    directory: Path

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run `python -m weir_local ...`, with an almost empty environment."""
        return subprocess.run(
            [sys.executable, "-m", "weir_local", *words],
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.directory)},
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=170,
            check=False,
        )

    @property
    def stack(self) -> Stack:
        return Stack(self.directory / ".weir")

    @property
    def state(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.directory / ".weir/state.json").read_text())
        return content


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    """A directory with a space in its name, through which `nobody` may pass."""
    directory = Path(tempfile.mkdtemp(prefix="weir commands "))
    if os.getuid() == 0:
        directory.chmod(0o711)
    shell = Shell(directory)
    yield shell
    done = shell.run("down")
    # Else a stack stays, and with its directory gone nobody could stop it by name.
    assert done.returncode == 0, done.stdout
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def running(shell: Shell) -> Shell:
    """The same directory, after `up`."""
    done = shell.run("up")
    assert done.returncode == 0, done.stdout
    return shell


def test_doctor_knows_that_nothing_runs(shell: Shell) -> None:
    """It says what to do, and ends with 1."""
    done = shell.run("doctor")

    assert done.returncode == 1
    assert "nothing is running" in done.stdout
    assert "make up" in done.stdout


def test_up_shows_the_password_once(shell: Shell) -> None:
    """Where things are is printed every time, the administrator's password the first time."""
    first = shell.run("up")
    again = shell.run("up")

    password = Path(shell.state["admin"]["password_file"]).read_text()
    assert first.returncode == again.returncode == 0, first.stdout + again.stdout
    assert password in first.stdout
    assert password not in again.stdout
    for done in (first, again):
        assert shell.state["gateway_url"] + "/docs" in done.stdout
        assert f"on this machine: {shell.state['yotta_url']}" in done.stdout


def test_doctor_is_content(running: Shell) -> None:
    """Every part is examined, down to the ledger."""
    done = running.run("doctor")

    assert done.returncode == 0, done.stdout
    assert "All is well." in done.stdout
    parts = (
        "postgres",
        "database job_service",
        "gpu-worker gRPC",
        "certificate ca",
        "yotta",
        "ledger",
    )
    for part in parts:
        assert f"✓ {part}" in done.stdout


def test_doctor_names_what_died_and_up_repairs_it(running: Shell) -> None:
    """After a kill the service is named with its log; after `up` all is well again."""
    running.stack.kill("compute-router")

    wrong = running.run("doctor")
    assert wrong.returncode == 1
    assert "✗ compute-router" in wrong.stdout
    assert "compute-router.log" in wrong.stdout

    assert running.run("up").returncode == 0
    assert running.run("doctor").returncode == 0


def test_doctor_names_a_frozen_service(running: Shell) -> None:
    """One that runs and does not answer is not well."""
    running.stack.send("cost-service", signal.SIGSTOP)
    try:
        done = running.run("doctor")
    finally:
        running.stack.send("cost-service", signal.SIGCONT)

    assert done.returncode == 1
    assert "✗ cost-service" in done.stdout


def test_demo_shows_prompts_decisions_and_costs(running: Shell) -> None:
    """It uses the stack that runs, and leaves it running."""
    before = running.state["pids"]
    done = running.run("demo")

    assert done.returncode == 0, done.stdout
    shown = (
        "complexity below threshold",
        "→ yotta",
        "→ fallback",
        "fallback from yotta",
        "429 insufficient_quota",
        "blocked → ",
        "no drift",
    )
    for words in shown:
        assert words in done.stdout
    after = running.state["pids"]
    assert {name for name in before if after[name] != before[name]} == {"yotta"}
    assert readiness.ask(running.state["gateway_url"]).ready


def test_logs_show_every_service(running: Shell) -> None:
    """With a name before each line."""
    done = running.run("logs")

    assert done.returncode == 0
    for name in ("gateway", "job-service", "postgres", "valkey"):
        assert name in {line.split(" ")[0] for line in done.stdout.splitlines()}


def test_followed_logs_come_through_a_pipe(running: Shell) -> None:
    """Whoever reads them line by line does not wait for a full buffer."""
    command = [sys.executable, "-m", "weir_local", "logs", "--follow", "--lines", "1", "gateway"]
    with subprocess.Popen(
        command,
        env={"PATH": "/usr/bin:/bin", "HOME": str(running.directory)},
        cwd=running.directory,
        stdout=subprocess.PIPE,
    ) as following:
        assert following.stdout is not None
        readable, _, _ = select.select([following.stdout], [], [], 20)
        following.terminate()

    assert readable, "nothing came"


def test_unknown_log_is_told_with_the_known_ones(running: Shell) -> None:
    """Advice that fits a stack that runs."""
    done = running.run("logs", "nosuch")

    assert done.returncode == 1
    assert "gateway" in done.stdout


def test_no_log_holds_a_secret(running: Shell) -> None:
    """Neither a password nor an address with one."""
    secrets = [
        file.read_text().strip()
        for file in (running.directory / ".weir/secrets").iterdir()
        if file.is_file()
    ]
    logs = [file.read_text() for file in (running.directory / ".weir/logs").glob("*.log")]

    assert len(secrets) > 10
    assert not [secret for secret in secrets for log in logs if secret in log]


def test_down_leaves_nothing(running: Shell) -> None:
    """The last one out turns off the light."""
    identities = list(running.stack.state.processes.values())
    done = running.run("down")

    assert done.returncode == 0, done.stdout
    assert not [each for each in identities if each.identity.is_running()]
    assert not running.stack.is_up()
