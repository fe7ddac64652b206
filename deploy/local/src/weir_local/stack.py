"""The whole of Weir on one machine: start it, break it, stop it.

    stack = Stack(Path(".weir"))
    stack.up()
    ...
    stack.down()

Tests pass `environment` (settings for every service), `services` (for one, by its name; for its
second process alone, as `job-service-1`), `replicas` (by service name) and
`stop_with_launcher=True`, so that nothing outlives them. With `yotta=True` a llama.cpp server is
started too, and the router takes it for the cloud.
"""

import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from weir_local import ports, readiness
from weir_local.cloud import YOTTA, Cloud, settings_of_cloud
from weir_local.fleet import Fleet, ServiceFailed
from weir_local.locking import exclusive
from weir_local.pki import Authority
from weir_local.postgres import Postgres
from weir_local.processes import Identity
from weir_local.progress import Progress, step
from weir_local.secret_files import SecretFiles
from weir_local.services import (
    NAMES,
    SERVICES,
    START_ORDER,
    Instance,
    Program,
    Surroundings,
    process_name,
)
from weir_local.state import State
from weir_local.storage import Storage, prepare_home
from weir_local.valkey import Valkey
from weir_local.warden import Warden

ADMIN = "admin"
DEFAULT_PORT = 8000
YOTTA_KEY = "yotta.key"
YOTTA_PORT = "yotta http"
# It loads while everything else starts, so this counts from when the rest is ready.
SECONDS_FOR_YOTTA = 60.0


class PortTaken(Exception):
    """The port that was asked for belongs to another program."""


@dataclass(frozen=True, slots=True)
class LedgerCheck:
    """What the ledger checker found."""

    consistent: bool
    report: str


@dataclass
class Stack:
    """All processes of one Weir, with their files below `home`."""

    home: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    replicas: Mapping[str, int] = field(default_factory=dict)
    services: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    port: int | None = None
    """The gateway's port; None for the one it had, else 8000 (not in tests), else any other."""
    yotta: bool = False
    """Whether a llama.cpp server on this machine stands in for the cloud."""
    stop_with_launcher: bool = False
    """Whether everything ends with this Python process, however that ends."""
    seconds_to_start: float = 120.0

    def __post_init__(self) -> None:
        self.home = self.home.absolute()
        self.secrets = SecretFiles(self.home / "secrets")
        self.authority = Authority(self.home / "pki")
        self._state_file = self.home / "state.json"
        self._warden = Warden() if self.stop_with_launcher else None
        self._read_state()

    # --- all of it ---------------------------------------------------------------------------

    def up(self, progress: Progress | None = None) -> None:
        """Start what does not run, in order, and return when everything is ready.

        What runs with other settings than it would get now is restarted. If it fails or is
        interrupted, what it had started is stopped again. A cloud on this machine that can't be
        started is left out: `yotta_url` is empty then, and `progress` is told.
        """
        progress = progress or Progress()
        prepare_home(self.home)
        with exclusive(self.home / "lock", progress), ExitStack() as undo:
            self._read_state()
            self.state.replicas = dict(self.replicas)
            wanted = {instance.name for instance in self._instances()}
            if self.yotta:
                wanted.add(YOTTA)
            self.fleet.stop([name for name in self.state.processes if name not in wanted])
            if self._warden is not None:
                self._warden.start()
            undo.callback(self.fleet.stop_strays)
            with step(progress, "keys"):
                self._prepare_keys()
            self.storage.start(progress, undo)
            self._choose_ports()
            self._start_yotta(undo)
            if any(self.find(each.name) is None for each in SERVICES.values() if each.database):
                self.storage.prepare(progress, self.environment)
            self._start_services(progress, undo)
            self.state.admin = {
                "username": ADMIN,
                "password_file": str(self.secrets.path("admin.password")),
            }
            self.state.save(self._state_file)
            undo.pop_all()

    def down(self, progress: Progress | None = None) -> None:
        """Stop everything, those first that others do not wait for. The data stays."""
        progress = progress or Progress()
        prepare_home(self.home)
        with exclusive(self.home / "lock", progress):
            self._read_state()
            for wave in (*reversed(START_ORDER), (YOTTA,)):
                names = [name for name in self.state.processes if _service_of(name) in wave]
                if names:
                    with step(progress, ", ".join(names)):
                        self.fleet.stop(names)
            self.fleet.stop_strays()
            with step(progress, "valkey, postgres"):
                self.storage.stop()
            self.state.processes.clear()
            self.state.save(self._state_file)
        if self._warden is not None:
            self._warden.dismiss()

    def __enter__(self) -> "Stack":
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def as_it_runs(self) -> "Stack":
        """Return this stack with the cloud that the running one was started with."""
        settings = {"compute-router": self.state.yotta_settings}
        return replace(self, yotta=self.state.yotta_here, services={**self.services, **settings})

    # --- one process -------------------------------------------------------------------------

    def start_service(
        self,
        service: str,
        index: int = 0,
        environment: Mapping[str, str] | None = None,
        *,
        wait: bool = True,
    ) -> None:
        """Start a process again, this time also with `environment`; wait until it is ready."""
        instance = Instance(SERVICES[service], index)
        self.fleet.start(self.surroundings.program(instance, environment))
        if wait:
            self.wait_until_ready(service, index)

    def wait_until_ready(self, service: str, index: int = 0, seconds: float | None = None) -> None:
        """Return when the process says that it is ready; raise ServiceFailed if it can't be."""
        addresses = {process_name(service, index): self._ready_address(service, index)}
        self.fleet.wait_until_ready(addresses, seconds or self.seconds_to_start, Progress())

    def start_yotta(self) -> None:
        """Start the cloud on this machine again; wait until it is ready."""
        self.fleet.start(self.surroundings.cloud_program())
        self.wait_until_ready(YOTTA)

    def stop_service(self, service: str, index: int = 0) -> None:
        """Stop a process as an operator would (SIGTERM)."""
        self.fleet.stop([process_name(service, index)])

    def stop_yotta(self) -> None:
        """Stop the cloud on this machine. `kill`, `send` and `find` take `yotta` too."""
        self.stop_service(YOTTA)

    def kill(self, service: str, index: int = 0) -> None:
        """Kill a process (SIGKILL), and return when it is gone."""
        self.fleet.kill(process_name(service, index))

    def send(self, service: str, number: signal.Signals, index: int = 0) -> None:
        """Send a process a signal, such as SIGSTOP and SIGCONT."""
        process = self.find(service, index)
        if process is not None:
            process.send(number)

    def find(self, service: str, index: int = 0) -> Identity | None:
        """Return the running process, or None."""
        return self.fleet.find(process_name(service, index))

    def is_up(self) -> bool:
        """Tell whether anything of it runs."""
        if not self._state_file.exists():
            return False
        servers = (self.postgres.find_process(), self.valkey.find_process())
        return any(servers) or any(self.fleet.find(name) for name in self.state.processes)

    def log(self, service: str, index: int = 0) -> Path:
        """Return the log file of a process."""
        return self.fleet.log(process_name(service, index))

    def log_of(self, name: str) -> Path:
        """Return the log file of a process by its own name, `postgres` and `valkey` among them."""
        return self.fleet.log(name)

    # --- where things are --------------------------------------------------------------------

    @property
    def gateway_url(self) -> str:
        """The public address."""
        return self.service_url("gateway")

    def service_url(self, service: str, index: int = 0) -> str:
        """Return the base URL of health and metrics; for the gateway its public one."""
        kind = "api" if service == "gateway" else "http"
        return "http://" + self.surroundings.address(Instance(SERVICES[service], index), kind)

    @property
    def yotta_url(self) -> str:
        """The address of the cloud that the router was told of; empty where there is none."""
        return self.state.yotta_url

    def grpc_address(self, service: str, index: int = 0) -> str:
        """Return where a process listens for gRPC, as host:port."""
        return self.surroundings.address(Instance(SERVICES[service], index))

    @property
    def postgres(self) -> Postgres:
        """The database server, to be stopped and started by tests."""
        return self.storage.postgres

    @property
    def valkey(self) -> Valkey:
        """The Redis server, to be stopped and started by tests."""
        return self.storage.valkey

    @property
    def audit_urls(self) -> dict[str, str]:
        """The settings with which the ledger checker reads the databases."""
        return self.storage.audit_urls()

    def database_url(self, service: str) -> str:
        """Return the address of a service's database for the superuser."""
        return self.postgres.superuser_url.rpartition("/")[0] + "/" + SERVICES[service].module

    def check_ledger(self, *, require_settled: bool = False) -> LedgerCheck:
        """Compare jobs, holds, ledger and budgets (`python -m cost_service check-ledger`).

        With `require_settled` work that is still under way is drift, too.
        """
        files = {f"{name}_FILE": str(self.secrets.path(name.lower())) for name in self.audit_urls}
        done = subprocess.run(
            [
                *(sys.executable, "-m", "cost_service", "check-ledger"),
                *(["--require-settled"] if require_settled else []),
            ],
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **files},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        return LedgerCheck(done.returncode == 0, done.stdout.strip())

    def note_password_shown(self) -> None:
        """Remember that the administrator's password was shown."""
        self.state.password_shown = True
        self.state.save(self._state_file)

    @property
    def surroundings(self) -> Surroundings:
        """What every process is told about the others."""
        return Surroundings(
            home=self.home,
            secrets=self.secrets,
            authority=self.authority,
            ports=self.state.ports,
            replicas=self.state.replicas,
            environment=self.environment,
            overrides=self.services,
            cloud=self._cloud(),
        )

    # --- how ---------------------------------------------------------------------------------

    def _read_state(self) -> None:
        self.state = State.load(self._state_file)
        self.storage = Storage(self.home, self.secrets, self.state, self._warden)
        self.fleet = Fleet(self.home, self.state, self._state_file, self._warden)

    def _instances(self) -> list[Instance]:
        return [each for name in NAMES for each in self.surroundings.instances(name)]

    def _prepare_keys(self) -> None:
        self.secrets.ensure_signing_key()
        for name in ("admin.password", "refresh-token.secret"):
            self.secrets.password(name)
        if self.yotta:
            self.secrets.password(YOTTA_KEY)
        self.authority.issue("operator")
        for instance in self._instances():
            self.authority.issue(instance.certificate_name)

    def _choose_ports(self) -> None:
        """Give every process its ports: those it had, unless somebody else took them."""
        for instance in self._instances():
            running = self.fleet.find(instance.name) is not None
            kinds = ("grpc", "http")
            for kind in kinds:
                self._keep_or_choose(f"{instance.name} {kind}", running)
            if instance.service.name == "gateway":
                self._choose_public_port(f"{instance.name} api", running, instance.index)
        if self.yotta:
            self._keep_or_choose(YOTTA_PORT, self.fleet.find(YOTTA) is not None)
        self.state.gateway_url = self.gateway_url
        self.state.prometheus_targets = {
            name: [
                self.service_url(name, each.index).removeprefix("http://")
                for each in self.surroundings.instances(name)
            ]
            for name in NAMES
        }

    def _keep_or_choose(self, key: str, running: bool) -> None:
        port = self.state.ports.get(key)
        if port is None or not (running or ports.is_free(port)):
            self.state.ports[key] = ports.choose(avoid=self.state.ports.values())

    def _choose_public_port(self, key: str, running: bool, index: int) -> None:
        had = self.state.ports.get(key)
        if self.port is not None and index == 0:
            ours = running and had == self.port
            if not ours and not ports.is_free(self.port):
                raise PortTaken(
                    f"Port {self.port} is taken by another program. Choose another one with "
                    "WEIR_PORT, or none to have one chosen."
                )
            self.state.ports[key] = self.port
        elif had is None and index == 0 and not self._is_test() and ports.is_free(DEFAULT_PORT):
            self.state.ports[key] = DEFAULT_PORT
        else:
            self._keep_or_choose(key, running)

    def _is_test(self) -> bool:
        return self.environment.get("ENVIRONMENT") == "test"

    def _cloud(self) -> Cloud | None:
        port = self.state.ports.get(YOTTA_PORT)
        if not self.yotta or port is None:
            return None
        return Cloud(f"{ports.LOOPBACK}:{port}", self.secrets.path(YOTTA_KEY))

    def _start_yotta(self, undo: ExitStack) -> None:
        """Start the cloud if it should be here, and remember which one the router is told of.

        It loads while databases are prepared, so that it is there when the router asks for it.
        """
        if self.yotta:
            self._keep_running(self.surroundings.cloud_program(), undo)
        self._note_cloud()

    def _note_cloud(self) -> None:
        router = self.surroundings.environment_of(Instance(SERVICES["compute-router"]))
        self.state.yotta_url = router.get("YOTTA_URL", "")
        self.state.yotta_here = self._cloud() is not None
        self.state.yotta_settings = settings_of_cloud(self.services.get("compute-router", {}))

    def _keep_running(self, program: Program, undo: ExitStack) -> None:
        if not self.fleet.is_current(program):
            undo.callback(self.fleet.stop, [program.name])
            self.fleet.start(program)

    def _start_services(self, progress: Progress, undo: ExitStack) -> None:
        """Start them in order, then wait for each in that order.

        They load at the same time, which is most of what starting takes; one whose callees are
        not there yet tries again by itself, and is not ready before.
        """
        for service in NAMES:
            for instance in self.surroundings.instances(service):
                self._keep_running(self.surroundings.program(instance), undo)
        addresses = {
            instance.name: self._ready_address(service, instance.index)
            for service in NAMES
            for instance in self.surroundings.instances(service)
        }
        self.fleet.wait_until_ready(addresses, self.seconds_to_start, progress)
        if self.yotta:
            self._wait_for_yotta(progress, undo)
        with step(progress, "model"):
            self.fleet.wait_for_a_model(self._serves_a_model, "gpu-worker", self.seconds_to_start)

    def _wait_for_yotta(self, progress: Progress, undo: ExitStack) -> None:
        """Wait for the cloud on this machine; if it fails, go on as if there were none."""
        seconds = min(self.seconds_to_start, SECONDS_FOR_YOTTA)
        try:
            self.fleet.wait_until_ready({YOTTA: self._ready_address(YOTTA)}, seconds, progress)
        except ServiceFailed as error:
            progress.failed(
                YOTTA,
                "The stand-in for the cloud can't be had; going on without it. With --no-yotta "
                f"(make up OPTIONS=--no-yotta) it is not tried. {error}",
            )
        else:
            return
        self.fleet.stop([YOTTA])
        self.state.processes.pop(YOTTA, None)
        # Without a port there is no cloud; the next `up` chooses one, and tries again.
        del self.state.ports[YOTTA_PORT]
        self._note_cloud()
        for instance in self.surroundings.instances("compute-router"):
            self._keep_running(self.surroundings.program(instance), undo)
            self.wait_until_ready("compute-router", instance.index)

    def _serves_a_model(self) -> bool:
        """Tell whether a prompt could run here now; that the cloud could run it is not enough."""
        if self.yotta_url and not readiness.workers_of(self.service_url("compute-router")):
            return False
        return readiness.serves_a_model(self.gateway_url)

    def _ready_address(self, service: str, index: int = 0) -> str:
        if service == YOTTA:
            cloud = self._cloud()
            assert cloud is not None, "this stack has no cloud on this machine"
            return cloud.ready_address
        return readiness.address(self.service_url(service, index))


def _service_of(name: str) -> str:
    """Return the service of a process name: `job-service` of `job-service-1`."""
    stem, _, last = name.rpartition("-")
    return stem if last.isdigit() else name
