"""`.env.example` is what the settings classes say."""

from __future__ import annotations

import itertools
import subprocess
import sys


def test_env_example_is_current(repository):
    """A variable that is added, renamed or described anew shows in `.env.example`."""
    made = subprocess.run(
        [sys.executable, repository / "deploy" / "env_example.py"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert (repository / ".env.example").read_text() == made, "run: make env-example"


def test_every_variable_is_described(repository):
    """No variable stands there without a word about what it does."""
    lines = (repository / ".env.example").read_text().splitlines()
    undescribed = [
        line
        for before, line in itertools.pairwise(lines)
        if "=" in line and line.removeprefix("# ").split("=")[0].isupper() and not before.strip()
    ]

    assert undescribed == []
