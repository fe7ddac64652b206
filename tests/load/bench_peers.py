"""`make bench-peers`: our queued jobs beside empty jobs of two queue libraries, in one run.

Ours pass the gateway, are held, executed, receipted and booked; theirs do nothing. So this says
what exactness costs, not who is better.
"""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Annotated

import asyncpg
import typer
from load_queue import queue_and_settle
from load_stack import running_weir
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
CLIENTS = 32
JOBS_TO_WARM_UP = 32
DATABASE = "bench_peers"
SECONDS_TO_FINISH = 300.0


def main(
    python: Annotated[Path, typer.Option(help="The peers' own Python.")],
    jobs: Annotated[int, typer.Option(min=1, help="How many jobs each of the three gets.")] = 1000,
) -> None:
    """Measure jobs per second on one Postgres and one Valkey, one after the other."""
    console = Console()
    with console.status("measuring"), running_weir() as weir:
        asyncio.run(queue_and_settle(weir, JOBS_TO_WARM_UP, CLIENTS))
        ours = asyncio.run(queue_and_settle(weir, jobs, CLIENTS))
        url = asyncio.run(new_database(weir.jobs_database_url))
        procrastinate = seconds_of(python, "peer_procrastinate.py", url, jobs)
        taskiq = seconds_of(python, "peer_taskiq.py", weir.redis_url, jobs)
    table = Table("", "jobs/s", "what is done", title=f"{jobs} queued jobs")
    done = "HTTP, hold, execution, receipt, settlement; six processes"
    table.add_row("Weir", f"{ours.per_second:.0f}", done)
    table.add_row("procrastinate", f"{jobs / procrastinate:.0f}", "nothing; one process, Postgres")
    table.add_row("taskiq-redis", f"{jobs / taskiq:.0f}", "nothing; one process, Redis stream")
    console.print(table)


async def new_database(url: str) -> str:
    """Make an empty database on the same server and return its address."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"CREATE DATABASE {DATABASE}")
    finally:
        await connection.close()
    return f"{url.rpartition('/')[0]}/{DATABASE}"


def seconds_of(python: Path, program: str, url: str, jobs: int) -> float:
    """Run a peer's program and return the seconds that it prints."""
    done = subprocess.run(
        [python, HERE / program, f"{jobs}"],
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "URL": url},
        stdout=subprocess.PIPE,
        text=True,
        timeout=SECONDS_TO_FINISH,
        check=True,
    )
    return float(done.stdout)


if __name__ == "__main__":
    typer.run(main)
