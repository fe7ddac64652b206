"""A stack with two of everything that is killed; makes `chaos_*` importable by name."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from weir_local.stack import Stack

sys.path.insert(0, str(Path(__file__).parent))

from chaos_plan import VICTIMS, ChaosPlan
from chaos_work import LONG_TOKENS, TOKEN_DELAY_MS


@pytest.fixture(scope="session")
def plan() -> ChaosPlan:
    """How many jobs and kills, from the environment."""
    return ChaosPlan.from_environment()


@pytest.fixture
def chaos_stack(plan: ChaosPlan) -> Iterator[Stack]:
    """Weir with the stand-in engine, short leases, room for every job, and two of each victim."""
    directory = Path(tempfile.mkdtemp(prefix="weir-chaos-"))
    directory.chmod(0o755)  # `nobody`, who runs Postgres where we are root, has to reach it
    stack = Stack(
        directory / "weir",
        environment={"ENVIRONMENT": "test"},
        replicas=dict.fromkeys(VICTIMS, 2),
        services={
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
                "POLL_SECONDS": "0.2",
                "NO_CAPACITY_WAIT_SECONDS": "0.2",
                "RETRY_BACKOFF_SECONDS": "0.2",
                "RECONCILE_AFTER_SECONDS": "4",
                # Nobody's job is a poison here: one that is hit again and again has bad luck.
                "MAX_LOST_LEASES": "50",
            },
            "compute-router": {"WORKER_LEASE_SECONDS": "2"},
            "gpu-worker": {
                "ENGINE": "instant",
                "ENGINE_SLOTS": "32",
                "INSTANT_TOKENS": str(LONG_TOKENS),
                "INSTANT_TOKEN_DELAY_MS": str(TOKEN_DELAY_MS),
            },
        },
        stop_with_launcher=True,
    )
    try:
        stack.up()
        yield stack
    finally:
        stack.down()
        shutil.rmtree(directory, ignore_errors=True)
