"""The figures as a table for people and as JSON for comparing runs."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from load_ladder import BARE, Cell, compared, ratios
from load_queue import Settled
from rich.table import Table

CPU_MODEL = Path("/proc/cpuinfo")


def machine_facts() -> dict[str, Any]:
    """Return what figures have to be read with; taken before anything is measured."""
    return {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain")),
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def document(
    machine: dict[str, Any], seconds: float, cells: list[Cell], queue: Settled
) -> dict[str, Any]:
    """Return everything as one JSON object."""
    bare = _bare(cells, queue.clients)
    return {
        "machine": machine,
        "seconds_per_cell": seconds,
        "ladder": [
            {
                "rung": cell.rung,
                "what": cell.what,
                "clients": cell.clients,
                **asdict(cell.measured),
                **ratio,
            }
            for cell, ratio in ratios(cells)
        ],
        "queued_jobs": {
            "jobs": queue.jobs,
            "clients": queue.clients,
            "seconds": queue.seconds,
            "per_second": queue.per_second,
            "per_second_ratio": queue.per_second / bare.measured.per_second,
            "submitting": {
                **asdict(queue.submitting),
                **compared(queue.submitting, bare.measured),
            },
        },
    }


def table_of(cells: list[Cell], queue: Settled) -> Table:
    """Return everything as a table; in brackets, how many times the figure of bare FastAPI."""
    table = Table(title=f"Weir's ladder (× = times {BARE}, as many clients)")
    for heading in ("rung", "clients", "p50 ms", "p99 ms", "per second", "errors"):
        table.add_column(heading, justify="left" if heading == "rung" else "right")
    previous = cells[0].rung
    for cell, ratio in ratios(cells):
        if cell.rung != previous:
            table.add_section()
        previous = cell.rung
        measured = cell.measured
        table.add_row(
            cell.rung,
            f"{cell.clients}",
            f"{measured.p50_ms:.2f} (×{ratio['p50_ratio']:.1f})",
            f"{measured.p99_ms:.2f} (×{ratio['p99_ratio']:.1f})",
            f"{measured.per_second:.0f} (×{ratio['per_second_ratio']:.3f})",
            f"{sum(measured.errors.values())}",
        )
    bare, submitting = _bare(cells, queue.clients).measured, queue.submitting
    against = compared(submitting, bare)
    table.add_section()
    table.add_row(
        "submit a job",
        f"{queue.clients}",
        f"{submitting.p50_ms:.2f} (×{against['p50_ratio']:.1f})",
        f"{submitting.p99_ms:.2f} (×{against['p99_ratio']:.1f})",
        f"{submitting.per_second:.0f} (×{against['per_second_ratio']:.3f})",
        f"{sum(submitting.errors.values())}",
    )
    table.add_row(
        f"{queue.jobs} jobs, settled",
        f"{queue.clients}",
        "",
        "",
        f"{queue.per_second:.0f} (×{queue.per_second / bare.per_second:.3f})",
        "",
    )
    return table


def _bare(cells: list[Cell], clients: int) -> Cell:
    return next(cell for cell in cells if (cell.rung, cell.clients) == (BARE, clients))


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _processor() -> str:
    if not CPU_MODEL.exists():
        return platform.processor()
    lines = CPU_MODEL.read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()
