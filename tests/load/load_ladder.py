"""The rungs of the ladder: from a server that does nothing to a whole answer."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace

from load_generator import Load, Measured
from load_stack import HERE, Weir

CLIENTS = (1, 32)
BARE = "bare FastAPI"


@dataclass(frozen=True, slots=True)
class Rung:
    """One thing that is measured."""

    name: str
    what: str
    load: Load


@dataclass(frozen=True, slots=True)
class Cell:
    """A rung with a number of clients, and what was measured."""

    rung: str
    what: str
    clients: int
    measured: Measured


def rungs(bare_url: str, weir: Weir) -> list[Rung]:
    """Return the ladder, from the bottom."""
    key = {"authorization": f"Bearer {weir.api_key}"}
    chat = {
        "model": "auto",
        "messages": [{"role": "user", "content": "Count."}],
        "max_tokens": 64,
    }
    return [
        Rung(BARE, "no work at all: what every other figure is compared with", Load(bare_url, 1)),
        Rung(
            "checks",
            "API key, token and rate limit; then the gateway itself says that this is no job (404)",
            Load(f"{weir.gateway_url}/api/v1/jobs/none", 1, headers=key, expected=404),
        ),
        Rung(
            "one hop",
            "the same checks, the permission, and one call to compute-router (GET /v1/models)",
            Load(f"{weir.gateway_url}/v1/models", 1, headers=key),
        ),
        Rung(
            "chat",
            "a whole answer: admitted, held, routed, run by the instant engine, stored",
            Load(
                f"{weir.gateway_url}/v1/chat/completions",
                1,
                method="POST",
                headers=key,
                body=chat,
            ),
        ),
    ]


async def climb(ladder: list[Rung], seconds: float, warm_up_seconds: float) -> list[Cell]:
    """Measure every rung with each number of clients, one after the other."""
    return [
        Cell(
            rung.name,
            rung.what,
            clients,
            await run(
                replace(
                    rung.load, clients=clients, seconds=seconds, warm_up_seconds=warm_up_seconds
                )
            ),
        )
        for rung in ladder
        for clients in CLIENTS
    ]


async def run(load: Load) -> Measured:
    """Generate the load in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(HERE / "load_generator.py"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    written, _ = await process.communicate(json.dumps(asdict(load)).encode())
    if process.returncode != 0:
        raise RuntimeError(f"The load generator ended with {process.returncode}.")
    return Measured(**json.loads(written))


def ratios(cells: list[Cell]) -> Iterator[tuple[Cell, Mapping[str, float]]]:
    """Yield each cell with its figures divided by those of bare FastAPI, as many clients asking."""
    bare = {cell.clients: cell.measured for cell in cells if cell.rung == BARE}
    for cell in cells:
        yield cell, compared(cell.measured, bare[cell.clients])


def compared(measured: Measured, bare: Measured) -> dict[str, float]:
    """Return the figures divided by those of bare FastAPI."""
    return {
        "p50_ratio": measured.p50_ms / bare.p50_ms,
        "p99_ratio": measured.p99_ms / bare.p99_ms,
        "per_second_ratio": measured.per_second / bare.per_second,
    }
