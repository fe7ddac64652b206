"""The HTTP contract is committed, and is what the gateway serves."""

from __future__ import annotations

import json
import subprocess
import sys


def test_openapi_document_is_current(repository):
    """A change of the interface shows in the diff of `docs/openapi.json`."""
    made = subprocess.run(
        [sys.executable, "-m", "gateway", "openapi"],
        capture_output=True,
        text=True,
        check=True,
        cwd=repository,
    ).stdout

    committed = (repository / "docs" / "openapi.json").read_text()
    assert json.loads(committed) == json.loads(made), (
        "run: .venv/bin/python -m gateway openapi > docs/openapi.json"
    )
