"""The programs that the check needs, and what to do where one is missing."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from compose_check.commands import CheckFailed, run

_LOCK = Path(__file__).resolve().parents[1] / "check-tools.txt"
_TO_INSTALL = "apt-get install -y --no-install-recommends docker.io iptables mmdebstrap"


@dataclass(frozen=True, slots=True)
class Tools:
    """Where the programs are."""

    compose: tuple[str, ...]
    hadolint: str


def require_docker() -> None:
    """Raise CheckFailed, with what to install, where there is no `docker`."""
    if shutil.which("docker") is None:
        raise CheckFailed(
            "There is no `docker` here. Install Docker with its Compose plugin; or, on Debian "
            f"without access to a container registry:\n    sudo {_TO_INSTALL}"
        )


def require_engine_parts() -> None:
    """Raise CheckFailed, with what to install, where a private engine could not be made."""
    missing = [name for name in ("dockerd", "iptables", "mmdebstrap") if not shutil.which(name)]
    if missing:
        raise CheckFailed(
            "No Docker engine answers, and to make a private one these are missing: "
            f"{', '.join(missing)}. Start Docker, or on Debian:\n    sudo {_TO_INSTALL}"
        )
    if os.geteuid() != 0:
        raise CheckFailed("No Docker engine answers, and only root can start a private one.")


def find_tools(directory: Path) -> Tools:
    """Return Compose (Docker's own if it has it) and hadolint, from wheels kept in `directory`."""
    bin_directory = directory / ("Scripts" if os.name == "nt" else "bin")
    stamp = directory / _LOCK.name
    if not stamp.exists() or stamp.read_bytes() != _LOCK.read_bytes():
        print(f"  installing Compose and hadolint into {directory}", flush=True)
        environment = dict(os.environ)
        commands: tuple[list[str | Path], ...] = (
            [sys.executable, "-m", "venv", "--clear", directory],
            [
                bin_directory / "python",
                *("-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
                *("--require-hashes", "--requirement", _LOCK),
            ],
        )
        for command in commands:
            run(command, seconds=300, environment=environment, directory=Path.cwd())
        shutil.copyfile(_LOCK, stamp)
    own = _answers(["docker", "compose", "version"])
    compose = ("docker", "compose") if own else (str(bin_directory / "docker-compose"),)
    return Tools(compose, str(bin_directory / "hadolint"))


def has_buildkit(environment: Mapping[str, str]) -> bool:
    """Tell whether images can be built by BuildKit, for which newer clients want a plugin."""
    return _answers(["docker", "buildx", "version"], environment)


def _answers(command: list[str], environment: Mapping[str, str] | None = None) -> bool:
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    return done.returncode == 0
