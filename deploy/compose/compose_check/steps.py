"""What the check does, one step after the other. Each returns a word or two for the table."""

import json
from collections.abc import Callable
from pathlib import Path

from compose_check.client import Client
from compose_check.commands import CheckFailed, run, wait_for
from compose_check.dashboards import queries, recording_rules
from compose_check.hardening import check_containers
from compose_check.metrics import check_queries, check_targets, replicas_called
from compose_check.project import BUILT, RUNNING, SERVICES, STORAGE, Project
from compose_check.tools import Tools

_COMPOSE_FILES = Path("deploy/compose")


def lint(repository: Path, tools: Tools) -> str:
    """Let hadolint read every Dockerfile."""
    files = sorted((repository / "deploy").rglob("*Dockerfile"))
    run([tools.hadolint, *files], seconds=60, environment={}, directory=repository)
    return f"{len(files)} Dockerfiles"


class Steps:
    """The steps that need the engine."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._client: Client | None = None
        self._queries = queries(
            project.repository / _COMPOSE_FILES / "grafana/dashboards/overview.json"
        )

    def close(self) -> None:
        """Close what was opened."""
        if self._client is not None:
            self._client.close()

    def all(self) -> list[tuple[str, Callable[[], str]]]:
        """Return the steps in order, by what each is about."""
        return [
            ("compose file", self.configuration),
            ("images", self.build),
            ("Prometheus's files", self.promtool),
            ("up", self.up),
            ("administrator, project, key", self.log_in),
            ("a prompt", self.chat),
            ("a streamed prompt", self.stream),
            ("a queued job", self.job),
            ("containers are confined", self.confined),
            ("Redis stopped and started", self.redis),
            ("worker stopped and started", self.worker),
            ("two of job-service", self.scale),
            ("Prometheus scrapes all", self.targets),
            ("every panel has data", self.panels),
            ("ledger", self.ledger),
            ("stopped and started whole", self.again),
        ]

    def configuration(self) -> str:
        """Let Compose read the file with every profile."""
        arguments = ("--profile", "gpu", "config", "--format", "json")
        services = json.loads(self._project.compose(*arguments))["services"]
        return f"{len(services)} services"

    def build(self) -> str:
        """Build the images one after the other: all but the first find the libraries built."""
        for service in BUILT:
            self._project.compose("build", "--quiet", service, seconds=600)
        return f"{len(BUILT)} images"

    def promtool(self) -> str:
        """Let Prometheus's own tool read its configuration and the dashboard's queries."""
        image = json.loads(self._project.compose("config", "--format", "json"))["services"][
            "prometheus"
        ]["image"]
        work = self._project.repository / "build" / "compose-check"
        (work / "dashboard-rules.yml").write_text(recording_rules(self._queries))
        configuration = self._project.repository / _COMPOSE_FILES / "prometheus.yml"
        for kind, file in (("config", configuration), ("rules", work / "dashboard-rules.yml")):
            mount = f"{file}:/checked.yml:ro"
            options = ("run", "--rm", "--network=none", "--volume", mount)
            self._project.docker(
                *options, "--entrypoint=promtool", image, "check", kind, "/checked.yml"
            )
        return f"{len(self._queries)} queries"

    def up(self) -> str:
        """Start everything that can be had here, and wait until it is healthy."""
        self._up("--no-build", *RUNNING)
        return f"{len(RUNNING)} containers healthy"

    def log_in(self) -> str:
        """Log in with the password that was made at the first start."""
        password = self._project.run_once("setup", "admin-password").split()[-1]
        self._client = Client(self._project.url, password)
        return "logged in"

    def chat(self) -> str:
        """A prompt through all six, to the real model, once the router knows the worker."""
        return wait_for("an answer", self._chat, seconds=60)

    def stream(self) -> str:
        """The same, streamed."""
        return f"{self._signed_in.stream()} pieces"

    def job(self) -> str:
        """A queued job, to its end."""
        job = self._signed_in.run_job()
        self._signed_in.refuse()
        return f"completed on {job['executed_target']}"

    def confined(self) -> str:
        """No root, nothing to write to, no capability, no port but the gateway's."""
        return f"{check_containers(self._project)} containers"

    def redis(self) -> str:
        """Without Redis prompts go on; with it all is as before."""
        self._project.compose("stop", "redis")
        wait_for("the gateway notices", lambda: self._says("redis", ok=False), seconds=30)
        without = wait_for("an answer without Redis", self._chat, seconds=60)
        self._up("--no-recreate", "--no-deps", "redis")
        wait_for("the gateway notices", lambda: self._says("redis", ok=True), seconds=30)
        wait_for("an answer after it", self._chat, seconds=60)
        return "answered without it: " + without

    def worker(self) -> str:
        """A job waits while there is no worker, and runs when it is back."""
        self._project.compose("stop", "gpu-worker-cpu")
        wait_for("the gateway notices", lambda: self._says("models", ok=False), seconds=60)
        job_id = self._signed_in.queue_job()
        self._up("--no-recreate", "--no-deps", "gpu-worker-cpu")
        self._signed_in.wait_for_job(job_id)
        wait_for("an answer after it", self._chat, seconds=60)
        return "a job waited for it"

    def scale(self) -> str:
        """Two replicas of job-service share one name and the calls."""
        self._up("--no-recreate", "--scale", "job-service=2", "job-service")
        # A client that was connected looks the name up again within five minutes; not here.
        self._project.compose("restart", "gateway")
        self._up("--no-recreate", "--no-deps", "gateway")
        wait_for("an answer", self._chat, seconds=60)
        for _ in range(6):
            self._signed_in.stream()
        self._signed_in.run_job()

        def both() -> str | None:
            count = replicas_called(self._project, "job-service", "weir.job.v1.JobService")
            return "both were called" if count == 2 else None

        return wait_for("calls at both replicas", both, seconds=60)

    def targets(self) -> str:
        """Prometheus reaches every replica of the six services."""
        return f"{check_targets(self._project, len(SERVICES) + 1)} replicas"

    def panels(self) -> str:
        """Every query of the dashboard has an answer."""
        self._signed_in.chat()
        return f"{check_queries(self._project, self._queries)} queries"

    def ledger(self) -> str:
        """Jobs, holds, ledger and budgets agree."""

        def consistent() -> str | None:
            report = self._project.run_once("check-ledger")
            return report.strip().splitlines()[-1]

        return wait_for("a ledger without drift", consistent, seconds=60)

    def again(self) -> str:
        """What was stopped as a whole comes up again with its data, and its keys."""
        before = self._project.run_once("setup", "admin-password")
        self._project.compose("down", "--timeout", "30", seconds=180)
        self._up("--no-build", *STORAGE, *SERVICES)
        if self._project.run_once("setup", "admin-password") != before:
            raise CheckFailed("the secrets did not outlive the containers")
        return wait_for("an answer", self._chat, seconds=60)

    @property
    def _signed_in(self) -> Client:
        assert self._client is not None
        return self._client

    def _up(self, *arguments: str) -> None:
        options = ("--detach", "--wait", "--wait-timeout", "300", "--pull", "never")
        self._project.compose("up", *options, *arguments, seconds=330)

    def _chat(self) -> str:
        return " ".join(self._signed_in.chat().split())[:40]

    def _says(self, dependency: str, *, ok: bool) -> bool | None:
        """Return True once the gateway says that of one of its dependencies."""
        found: bool = self._signed_in.health()["checks"][dependency]["ok"]
        return True if found is ok else None
