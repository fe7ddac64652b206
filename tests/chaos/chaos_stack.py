"""A stack with two of everything that is killed, whose failpoints can be armed one by one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from chaos_plan import REPLICAS, VICTIMS, ChaosPlan
from chaos_work import LONG_TOKENS, TOKEN_DELAY_MS

from weir_local.services import process_name
from weir_local.stack import Stack

ARMED = ("job-service", "cost-service", "gateway", "compute-router")


@contextmanager
def started_stack(
    plan: ChaosPlan,
    source: Path | None = None,
    further: Mapping[str, Mapping[str, str]] | None = None,
) -> Iterator[Stack]:
    """Run Weir with the stand-in engine, short leases, and room for every job.

    Args:
        plan: How long leases last.
        source: Packages to run in place of our own of the same name.
        further: Settings of services, besides those that all stacks here have.
    """
    directory = Path(tempfile.mkdtemp(prefix="weir-chaos-"))
    directory.chmod(0o755)  # `nobody`, who runs Postgres where we are root, has to reach it
    home = directory / "weir"
    environment = {"ENVIRONMENT": "test", "LOG_LEVEL": "WARNING"}
    if source is not None:
        environment["PYTHONPATH"] = str(source)
    stack = Stack(
        home,
        environment=environment,
        replicas=dict.fromkeys(VICTIMS, REPLICAS),
        services=_with_failpoints(_settings(plan, further or {}), home),
        stop_with_launcher=True,
    )
    try:
        stack.up()
        yield stack
    finally:
        stack.down()
        shutil.rmtree(directory, ignore_errors=True)


def arm(stack: Stack, service: str, index: int, failpoints: str) -> None:
    """Say what a running process does at its failpoints; nothing where the text is empty."""
    file = _failpoints_file(stack.home, process_name(service, index))
    made = file.with_suffix(".new")
    made.write_text(failpoints)
    made.replace(file)


def _with_failpoints(settings: dict[str, dict[str, str]], home: Path) -> dict[str, dict[str, str]]:
    """Name a file for each process; the first process has the name of its service."""
    made = dict(settings)
    for service in ARMED:
        for index in range(REPLICAS):
            name = process_name(service, index)
            armed = {"FAILPOINTS": f"@{_failpoints_file(home, name)}"}
            made[name] = made.get(name, {}) | armed
    return made


def _failpoints_file(home: Path, name: str) -> Path:
    return home / f"{name}.failpoints"


def _settings(
    plan: ChaosPlan, further: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, str]]:
    settings = {
        "gateway": {
            "RATE_LIMIT_PER_MINUTE": "1000000",
            "AUTH_RATE_LIMIT_PER_MINUTE": "1000000",
        },
        "cost-service": {
            "DEFAULT_ALLOWANCE_USD": "1000000",
            "DEFAULT_PROJECT_CAP_USD": "1000000",
        },
        "job-service": {
            "LEASE_SECONDS": str(plan.lease_seconds),
            "LEASE_RENEW_SECONDS": str(plan.lease_seconds / 4),
            "POLL_SECONDS": str(plan.poll_seconds),
            "NO_CAPACITY_WAIT_SECONDS": "0.2",
            "RETRY_BACKOFF_SECONDS": "0.2",
            "RECONCILE_AFTER_SECONDS": "4",
            # Nobody's job is a poison here: one that is hit again and again has bad luck.
            "MAX_LOST_LEASES": "50",
        },
        "compute-router": {"WORKER_LEASE_SECONDS": str(plan.worker_lease_seconds)},
        "gpu-worker": {
            "ENGINE": "instant",
            "ENGINE_SLOTS": "32",
            "INSTANT_TOKENS": str(LONG_TOKENS),
            "INSTANT_TOKEN_DELAY_MS": str(TOKEN_DELAY_MS),
        },
    }
    return {name: {**values, **further.get(name, {})} for name, values in settings.items()}
