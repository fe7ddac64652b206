"""`make bench`: how fast Weir is, next to a server that does nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer
from load_ladder import Cell, climb, rungs
from load_queue import Settled, queue_and_settle
from load_report import document, machine_facts, table_of
from load_stack import bare_fastapi, running_weir
from rich.console import Console

CLIENTS_OF_THE_QUEUE = 32
JOBS_TO_WARM_UP = 32


def main(
    quick: Annotated[
        bool, typer.Option("--quick", help="Half a second per cell, 60 jobs: does it run at all?")
    ] = False,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long each cell is measured.")] = 4.0,
    jobs: Annotated[int, typer.Option(min=1, help="How many jobs are queued.")] = 300,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("build/bench.json"),
) -> None:
    """Measure bare FastAPI, Weir's checks, one hop, whole answers and queued jobs.

    Starts its own Weir with the instant engine and no limits. Ends with 1 if any answer was not
    the right one. docs/performance.md says how to read the figures.
    """
    console = Console()
    console.width = max(console.width, 100)
    if quick:
        seconds, jobs = 0.5, 60
    machine = machine_facts()
    with console.status("measuring"), bare_fastapi() as bare_url, running_weir() as weir:
        cells = asyncio.run(climb(rungs(bare_url, weir), seconds, warm_up_seconds=seconds / 4))
        asyncio.run(queue_and_settle(weir, JOBS_TO_WARM_UP, CLIENTS_OF_THE_QUEUE))
        queue = asyncio.run(queue_and_settle(weir, jobs, CLIENTS_OF_THE_QUEUE))
    console.print(table_of(cells, queue))
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(document(machine, seconds, cells, queue), indent=2) + "\n")
    console.print(f"Written to {output}.")
    if wrong := wrong_answers(jobs, cells, queue):
        for line in wrong:
            console.print(f"[red]{line}[/]")
        raise typer.Exit(1)


def wrong_answers(jobs: int, cells: list[Cell], queue: Settled) -> list[str]:
    """Return a line for everything that was not as it should be: such a run measured nothing."""
    lines = [
        f"{cell.rung}, {cell.clients} clients: {count} times {error}"
        for cell in cells
        for error, count in cell.measured.errors.items()
    ]
    lines += [f"submit: {count} times {error}" for error, count in queue.submitting.errors.items()]
    if queue.jobs != jobs:
        lines.append(f"{queue.jobs} of {jobs} jobs completed")
    return lines


if __name__ == "__main__":
    typer.run(main)
