"""The Docker engine that the check uses: the one that is there, or a private one.

A private one is started where none answers. It gets stand-ins for the official images
(deploy/containers), so it needs no container registry; they are kept in build/ for the next time.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from compose_check.commands import CheckFailed, run
from compose_check.tools import has_buildkit, require_engine_parts

_STAND_INS = "deploy/containers/stand-ins.sh"


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine, by what a Docker client must have in its environment to reach it."""

    environment: Mapping[str, str]
    private: bool


@contextmanager
def engine(repository: Path, work: Path, images: Sequence[str]) -> Iterator[Engine]:
    """Give an engine that has these images; stop it afterwards if it was started here."""
    found = _environment(os.environ)
    if _answers(found):
        for image in images:
            _pull(image, found, repository)
        yield Engine(found, private=False)
        return
    require_engine_parts()
    # Docker's sockets want a short path.
    run_directory = Path(tempfile.mkdtemp(prefix="weir-check-"))
    environment = _environment({**os.environ, "DOCKER_HOST": f"unix://{run_directory}/docker.sock"})
    had_bridge = Path("/sys/class/net/docker0").exists()
    forwarding = _forwarding()
    try:
        print("  a private engine, with stand-ins for the official images", flush=True)
        script = str(repository / _STAND_INS)
        run(
            ["bash", script, work / "engine", run_directory],
            seconds=600,
            environment=environment,
            directory=repository,
        )
        yield Engine(environment, private=True)
    finally:
        _stop(run_directory / "dockerd.pid")
        if not had_bridge:
            subprocess.run(["ip", "link", "delete", "docker0"], capture_output=True, check=False)
        # dockerd makes it DROP, and leaves it so.
        subprocess.run(["iptables", "-P", "FORWARD", forwarding], capture_output=True, check=False)
        shutil.rmtree(run_directory, ignore_errors=True)


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    environment = dict(given)
    if not has_buildkit(environment):
        environment["DOCKER_BUILDKIT"] = "0"
    return environment


def _answers(environment: Mapping[str, str]) -> bool:
    try:
        done = subprocess.run(
            ["docker", "info"], env=environment, capture_output=True, check=False, timeout=30
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _forwarding() -> str:
    """Return what the kernel does by default with packets that are for other machines."""
    done = subprocess.run(
        ["iptables", "-S", "FORWARD"], capture_output=True, text=True, check=False
    )
    return "DROP" if "-P FORWARD DROP" in done.stdout else "ACCEPT"


def _pull(image: str, environment: Mapping[str, str], directory: Path) -> None:
    known = subprocess.run(
        ["docker", "image", "inspect", image], env=environment, capture_output=True, check=False
    )
    if known.returncode == 0:
        return
    try:
        run(["docker", "pull", image], seconds=300, environment=environment, directory=directory)
    except CheckFailed as error:
        raise CheckFailed(
            f"A Docker engine answers, but has no {image} and can't pull it. Make it available "
            "there, or stop the engine: the check then starts a private one with stand-ins.\n"
            f"{error}"
        ) from error


def _stop(pid_file: Path) -> None:
    """End the private dockerd, and wait until it is gone."""
    if not pid_file.exists():
        return
    pid = int(pid_file.read_text())
    deadline = time.monotonic() + 30
    try:
        os.kill(pid, signal.SIGTERM)
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.2)
    except ProcessLookupError:
        return
    print(f"  the private dockerd (process {pid}) did not end within 30 s", flush=True)
