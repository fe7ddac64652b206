"""Makes `job_fakes` importable by its own name, which no other service's tests have."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from job_fakes import World


@pytest.fixture
def world():
    """Every port of the use cases, faked."""
    return World()
