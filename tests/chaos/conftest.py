"""One stack for all tests of a session; makes `chaos_*` importable by name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from weir_local.stack import Stack

sys.path.insert(0, str(Path(__file__).parent))

from chaos_plan import ChaosPlan
from chaos_stack import started_stack


@pytest.fixture(scope="session")
def plan() -> ChaosPlan:
    """How many jobs and blows, from the environment."""
    return ChaosPlan.from_environment()


@pytest.fixture(scope="session")
def chaos_stack(plan: ChaosPlan) -> Iterator[Stack]:
    """Weir with two of each victim. Whoever breaks something mends it before the test ends."""
    with started_stack(plan) as stack:
        yield stack
