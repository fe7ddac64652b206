"""The stack as a Compose project of its own: names, port and image tags of nobody else's."""

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compose_check.commands import CheckFailed, run
from compose_check.engine import Engine
from compose_check.tools import Tools

SERVICES = (
    "auth-service",
    "cost-service",
    "compute-router",
    "job-service",
    "gateway",
    "gpu-worker-cpu",
)
STORAGE = ("postgres", "redis")
BUILT = ("setup", *SERVICES)
# Grafana's image can't be had without a registry; everything else runs.
RUNNING = (*STORAGE, *SERVICES, "prometheus")
BASE_IMAGES = (
    "python:3.11-slim-bookworm",
    "postgres:16-alpine",
    "redis:7-alpine",
    "prom/prometheus:v3.5.0",
)
_PROFILES = ("cpu", "observability", "tools")


@dataclass
class Project:
    """Commands of Compose for one stack."""

    repository: Path
    engine: Engine
    tools: Tools
    name: str = f"weircheck{os.getpid()}"
    port: int = field(default_factory=lambda: _free_port())

    @property
    def url(self) -> str:
        """Where its gateway answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def tag(self) -> str:
        """The tag of the images built for it. In an engine that others use it is its own."""
        return "check" if self.engine.private else self.name

    def compose(self, *arguments: str, seconds: float = 120, stdin: str = "") -> str:
        """Return what `docker compose ...` printed."""
        profiles = [part for profile in _PROFILES for part in ("--profile", profile)]
        # Nobody's .env has a part in it.
        command = [*self.tools.compose, "--project-name", self.name, *profiles]
        return run(
            [*command, "--env-file", os.devnull, *arguments],
            seconds=seconds,
            environment=self._environment(),
            directory=self.repository,
            stdin=stdin,
        )

    def run_once(self, *command: str) -> str:
        """Return what a one-shot service printed; its image is the one that was built before."""
        return self.compose("run", "--rm", "--pull", "never", *command)

    def docker(self, *arguments: str, seconds: float = 60) -> str:
        """Return what `docker ...` printed."""
        return run(
            ["docker", *arguments],
            seconds=seconds,
            environment=self._environment(),
            directory=self.repository,
        )

    def inspect(self) -> dict[str, dict[str, Any]]:
        """Return what the engine knows of every container, also of those that are done."""
        identifiers = self.compose("ps", "--all", "--quiet").split()
        if not identifiers:
            raise CheckFailed("The project has no containers.")
        containers = json.loads(self.docker("inspect", *identifiers))
        return {container["Name"].removeprefix("/"): container for container in containers}

    def python(self, service: str, program: str) -> str:
        """Return what a Python program prints inside a service's container."""
        python = "/opt/venv/bin/python"
        return self.compose("exec", "-T", service, python, "-", stdin=program)

    def down(self) -> None:
        """Remove its containers, networks and volumes."""
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "20", seconds=180)

    def remove_images(self) -> None:
        """Remove the images that were built for it."""
        document = json.loads(self.compose("config", "--format", "json"))
        ours = {each["image"] for each in document["services"].values() if "build" in each}
        listed = self.docker("images", "--format", "{{.Repository}}:{{.Tag}}")
        if found := sorted(ours & set(listed.split())):
            self.docker("image", "rm", *found)

    def _environment(self) -> Mapping[str, str]:
        return {
            **self.engine.environment,
            "WEIR_PORT": str(self.port),
            "WEIR_VERSION": self.tag,
        }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
