"""Sends one request again and again from some clients, and says how long the answers took.

It runs as a process of its own: `python load_generator.py` reads a `Load` as JSON and writes a
`Measured` as JSON. Each client waits for its answer before it asks again.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import aiohttp
import uvloop


@dataclass(frozen=True, slots=True)
class Load:
    """What to send, how, and what has to come back.

    Attributes:
        url: Where to.
        clients: How many ask at the same time.
        seconds: How long to measure, after the warm-up. 0: send `requests` and stop.
        requests: How many to send at most; 0 for any number.
        body: The JSON to post; none for a GET.
        expected: The status of a right answer; any other counts as an error.
    """

    url: str
    clients: int
    seconds: float = 0.0
    warm_up_seconds: float = 0.0
    requests: int = 0
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] | None = None
    expected: int = 200


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of it.

    Attributes:
        errors: What came instead of a right answer, and how often.
        seconds: From the first request that counts to the last answer.
    """

    requests: int
    errors: dict[str, int]
    seconds: float
    p50_ms: float
    p99_ms: float
    per_second: float


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)] if ordered else 0.0


async def generate(load: Load) -> Measured:
    """Warm up, then measure."""
    connector = aiohttp.TCPConnector(limit=load.clients)
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, headers=load.headers
    ) as session:
        if load.warm_up_seconds:
            await _Round(session, load, load.warm_up_seconds).run()
        return await _Round(session, load, load.seconds).run()


class _Round:
    """All clients at work for some time, or until enough was sent."""

    def __init__(self, session: aiohttp.ClientSession, load: Load, seconds: float) -> None:
        self._session = session
        self._load = load
        self._seconds = seconds
        self._latencies: list[float] = []
        self._errors: Counter[str] = Counter()
        self._begun = 0

    async def run(self) -> Measured:
        started = time.perf_counter()
        async with asyncio.TaskGroup() as clients:
            for _ in range(self._load.clients):
                clients.create_task(self._ask_again_and_again(started + self._seconds))
        seconds = time.perf_counter() - started
        return Measured(
            requests=len(self._latencies),
            errors=dict(self._errors),
            seconds=seconds,
            p50_ms=1000 * percentile(self._latencies, 0.5),
            p99_ms=1000 * percentile(self._latencies, 0.99),
            per_second=len(self._latencies) / seconds,
        )

    async def _ask_again_and_again(self, until: float) -> None:
        while self._goes_on(until):
            self._begun += 1
            started = time.perf_counter()
            error = await self._ask()
            self._latencies.append(time.perf_counter() - started)
            if error:
                self._errors[error] += 1

    def _goes_on(self, until: float) -> bool:
        if self._load.requests and self._begun >= self._load.requests:
            return False
        return not self._seconds or time.perf_counter() < until

    async def _ask(self) -> str:
        """Return what was wrong with the answer, or ""."""
        load = self._load
        try:
            async with self._session.request(load.method, load.url, json=load.body) as answer:
                body = await answer.read()
                if answer.status == load.expected:
                    return ""
                return f"{answer.status} {body[:200].decode(errors='replace')}"
        except (aiohttp.ClientError, TimeoutError) as error:
            return type(error).__name__


def main() -> None:
    load = Load(**json.load(sys.stdin))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        json.dump(asdict(runner.run(generate(load))), sys.stdout)


if __name__ == "__main__":
    main()
