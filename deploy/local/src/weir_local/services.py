"""The six services as the launcher sees them: names, and what each is told in its environment."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from weir_local import cloud
from weir_local.cloud import YOTTA, Cloud
from weir_local.pki import Authority
from weir_local.ports import LOOPBACK
from weir_local.secret_files import SecretFiles

# They start in this order and stop in the opposite one, those on one line side by side.
START_ORDER = (
    ("auth-service",),
    ("cost-service", "compute-router", "gpu-worker"),
    ("job-service",),
    ("gateway",),
)
NAMES = tuple(name for wave in START_ORDER for name in wave)
HOME_VARIABLE = "WEIR_PROCESS_OF"
"""Marks every process with the stack it belongs to."""
# What the machine must tell its processes: certificates to trust, and where its GPU is.
_FROM_THE_MACHINE = (
    "HOME",
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
)


@dataclass(frozen=True, slots=True)
class Service:
    """One of the six."""

    name: str
    calls: tuple[str, ...] = ()
    """The services it is given the addresses of."""
    database: bool = False
    redis: bool = False

    @property
    def module(self) -> str:
        """The Python module, which is also the name of the database and of its login role."""
        return self.name.replace("-", "_")


SERVICES = {
    service.name: service
    for service in (
        Service("auth-service", database=True),
        Service("cost-service", calls=("auth-service",), database=True),
        Service("compute-router", calls=("cost-service",), redis=True),
        Service("gpu-worker", calls=("compute-router",)),
        Service(
            "job-service",
            calls=("auth-service", "cost-service", "compute-router"),
            database=True,
            redis=True,
        ),
        Service(
            "gateway",
            calls=("auth-service", "job-service", "cost-service", "compute-router"),
            redis=True,
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Instance:
    """One process of a service."""

    service: Service
    index: int = 0

    @property
    def name(self) -> str:
        """The name of the process."""
        return process_name(self.service.name, self.index)

    @property
    def certificate_name(self) -> str:
        """The name its certificate vouches for."""
        if self.service.name == "gpu-worker":
            return f"gpu-worker/{self.worker_id}"
        return self.service.name

    @property
    def worker_id(self) -> str:
        """The id under which a worker registers."""
        return f"local-{self.index}"


@dataclass(frozen=True, slots=True)
class Program:
    """A process as it would be started now."""

    name: str
    module: str
    environment: Mapping[str, str]

    @property
    def fingerprint(self) -> str:
        """A mark that changes with its settings, and with the secrets in files they point to."""
        digest = hashlib.sha256(json.dumps(dict(self.environment), sort_keys=True).encode())
        for file in secret_files_of(self.environment):
            digest.update(file.read_bytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Everything an instance's environment is made from."""

    home: Path
    secrets: SecretFiles
    authority: Authority
    ports: Mapping[str, int]
    replicas: Mapping[str, int]
    environment: Mapping[str, str]
    """For all services."""
    overrides: Mapping[str, Mapping[str, str]]
    """For one service, by its name; for its second process alone by `job-service-1`."""
    cloud: Cloud | None = None
    """The one on this machine, if there is one."""

    def program(self, instance: Instance, extra: Mapping[str, str] | None = None) -> Program:
        """Return the process of a service, also with `extra` in its environment."""
        environment = self.environment_of(instance) | dict(extra or {})
        return Program(instance.name, instance.service.module, environment)

    def cloud_program(self) -> Program:
        """Return the process of the cloud on this machine."""
        assert self.cloud is not None
        environment = {
            **_from_the_machine(),
            HOME_VARIABLE: str(self.home),
            **self.cloud.server_environment(),
            **self.overrides.get(YOTTA, {}),
        }
        return Program(YOTTA, cloud.MODULE, environment)

    def instances(self, service: str) -> list[Instance]:
        """Return the processes a service should have."""
        return [Instance(SERVICES[service], n) for n in range(self.replicas.get(service, 1))]

    def address(self, instance: Instance, kind: str = "grpc") -> str:
        """Return where it listens: `grpc`, or `http` for health, metrics and the gateway."""
        return f"{LOOPBACK}:{self.ports[f'{instance.name} {kind}']}"

    def addresses(self, service: str) -> str:
        """Return where all processes of a service listen, separated by commas."""
        return ",".join(self.address(each) for each in self.instances(service))

    def environment_of(self, instance: Instance) -> dict[str, str]:
        """Return the whole environment of a process; secrets are in it as paths of files."""
        service = instance.service
        files = self.authority.issue(instance.certificate_name)
        made = _from_the_machine() | {
            HOME_VARIABLE: str(self.home),
            "ENVIRONMENT": "development",
            "GRPC_ADDRESS": self.address(instance),
            "HTTP_ADDRESS": self.address(instance, "http"),
            "TLS_CA_FILE": str(files.authority),
            "TLS_CERT_FILE": str(files.certificate),
            "TLS_KEY_FILE": str(files.key),
        }
        for callee in service.calls:
            variable = callee.upper().replace("-", "_") + "_ADDRESSES"
            made[variable] = self.addresses(callee)
        if service.database:
            made["DATABASE_URL_FILE"] = str(self.secrets.path(f"{service.module}.url"))
        if service.redis:
            made["REDIS_URL_FILE"] = str(self.secrets.path("redis.url"))
        return {
            **made,
            **self._own(instance),
            **self.environment,
            **self.overrides.get(service.name, {}),
            **self.overrides.get(instance.name, {}),
        }

    def _own(self, instance: Instance) -> dict[str, str]:
        """Return what only this service is told."""
        match instance.service.name:
            case "auth-service":
                return {
                    "SIGNING_KEYS_DIR": str(self.secrets.signing_keys),
                    "BOOTSTRAP_ADMIN_PASSWORD_FILE": str(self.secrets.path("admin.password")),
                    "REFRESH_TOKEN_SECRET_FILE": str(self.secrets.path("refresh-token.secret")),
                }
            case "compute-router":
                return self.cloud.router_environment() if self.cloud else {}
            case "gateway":
                return {"API_HOST": LOOPBACK, "API_PORT": str(self.ports[f"{instance.name} api"])}
            case "job-service":
                # One key for all replicas: whichever finishes a job signs its receipt.
                return {
                    "RECEIPT_SIGNING_KEY_FILE": str(self.secrets.signing_key("receipt-signing.pem"))
                }
            case "gpu-worker":
                return {
                    "WORKER_ID": instance.worker_id,
                    "WORKER_ADVERTISE_ADDRESS": self.address(instance),
                    "RESULT_SIGNING_KEY_FILE": str(
                        self.secrets.signing_key(f"{instance.name}-result.pem")
                    ),
                    # Threads that spin while they wait take the cores from everybody else.
                    "GOMP_SPINCOUNT": "0",
                }
        return {}


def process_name(service: str, index: int = 0) -> str:
    """Return `job-service`, and `job-service-1` for a second one."""
    return service + (f"-{index}" if index else "")


def secret_files_of(environment: Mapping[str, str]) -> Sequence[Path]:
    """Return the files that an environment points to and whose content matters to the process."""
    return [
        Path(value)
        for name, value in sorted(environment.items())
        if name.endswith("_FILE") and Path(value).is_file()
    ]


def _from_the_machine() -> dict[str, str]:
    given = {name: os.environ[name] for name in _FROM_THE_MACHINE if name in os.environ}
    return given | {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
