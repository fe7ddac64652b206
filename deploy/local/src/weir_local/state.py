"""What the launcher remembers between its runs: `.weir/state.json`, for its owner only.

Other tools read `gateway_url`, `postgres_url`, `redis_url`, `prometheus_targets`, `pids` and
`admin`; the rest is the launcher's own.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from weir_local.files import write_private
from weir_local.processes import Identity


@dataclass(frozen=True, slots=True)
class RecordedProcess:
    """A service process that was started."""

    pid: int
    started: str
    fingerprint: str
    """Of the settings it was started with."""

    @property
    def identity(self) -> Identity:
        return Identity(self.pid, self.started)


@dataclass
class State:
    """The content of the file."""

    gateway_url: str = ""
    postgres_url: str = ""
    redis_url: str = ""
    prometheus_targets: dict[str, list[str]] = field(default_factory=dict)
    admin: dict[str, str] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    """Kept across restarts: `postgres`, `valkey`, `job-service grpc`, `job-service http`."""
    replicas: dict[str, int] = field(default_factory=dict)
    yotta_url: str = ""
    """The address of the cloud; empty where there is none."""
    yotta_here: bool = False
    """Whether the launcher started that cloud itself."""
    yotta_settings: dict[str, str] = field(default_factory=dict)
    """What the router was told about it by whoever started Weir."""
    processes: dict[str, RecordedProcess] = field(default_factory=dict)
    servers: dict[str, int] = field(default_factory=dict)
    """The pids of Postgres and Valkey, for information; their own files count."""
    password_shown: bool = False

    @property
    def pids(self) -> dict[str, int]:
        """The pid of each process by its name."""
        return self.servers | {name: process.pid for name, process in self.processes.items()}

    @classmethod
    def load(cls, file: Path) -> "State":
        """Read the file; an empty state if there is none."""
        try:
            content: dict[str, Any] = json.loads(file.read_text())
        except FileNotFoundError:
            return cls()
        content.pop("pids", None)
        content["processes"] = {
            name: RecordedProcess(**each) for name, each in content["processes"].items()
        }
        return cls(**content)

    def save(self, file: Path) -> None:
        """Write the file, whole or not at all."""
        content = asdict(self) | {"pids": self.pids}
        write_private(file, json.dumps(content, indent=2) + "\n")
