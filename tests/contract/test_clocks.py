"""Leases, due times and periods are decided by the database's clock alone (X-R17)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
# What reads the wall clock of a process, by its last word.
WALL_CLOCKS = {"now", "utcnow", "today", "time", "time_ns"}
# Nothing is leased, due or booked by these.
ALLOWED = {
    "cost-service/src/cost_service/__main__.py": "the date that import-prices proposes",
    "cost-service/src/cost_service/usecases/export_ledger.py": "which days an export has unasked",
}
READERS = {"datetime", "date", "clock", "_clock", "time"}


def wall_clock_reads(source: str) -> list[int]:
    """Return the lines of calls such as `clock.now()`, `datetime.now(UTC)` and `time.time()`."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [
        call.lineno
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and call.func.attr in WALL_CLOCKS
        and _last_word(call.func.value) in READERS
    ]


def _last_word(node: ast.expr) -> str:
    match node:
        case ast.Attribute(attr=word) | ast.Name(id=word):
            return word
    return ""


@pytest.mark.parametrize("service", ["job-service", "cost-service"])
def test_process_clock_is_never_read(service):
    """A process whose wall clock is wrong reaps, retries and books like any other."""
    files = (REPOSITORY / service / "src").rglob("*.py")
    reads = {
        f"{file.relative_to(REPOSITORY)}:{line}"
        for file in files
        for line in wall_clock_reads(file.read_text())
    }

    assert {read for read in reads if read.partition(":")[0] not in ALLOWED} == set()


@pytest.mark.parametrize("read", ["self.clock.now()", "datetime.now(UTC)", "time.time()"])
def test_reads_would_be_seen(read):
    """The rule above sees what it forbids, and lets the database's `func.now()` pass."""
    assert wall_clock_reads(f"x = func.now()\ny = {read}\n") == [2]
