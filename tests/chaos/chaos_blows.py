"""Deals the blows: each meets running work, and never both replicas of one service."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from chaos_books import Books, Running
from chaos_plan import REPLICAS, VICTIMS, Blow, Freeze, Kill

from weir_local import readiness
from weir_local.stack import Stack

T = TypeVar("T")

SECONDS_TO_MEET_WORK = 30.0
SECONDS_TO_RESTART = 60.0


@dataclass(frozen=True, slots=True)
class Dealt:
    """A blow, and the work that was under way when it fell."""

    blow: Blow
    running: Running


@dataclass
class Assailant:
    """Hits the replicas of a stack, one after the other.

    Attributes:
        pause_seconds: The least time between two blows.
        freeze_seconds: How long a frozen replica stays so.
        dealt: What fell so far.
        restarts: Seconds from each kill until its replica was ready again.
    """

    stack: Stack
    books: Books
    tasks: asyncio.TaskGroup
    pause_seconds: float
    freeze_seconds: float
    dealt: list[Dealt] = field(default_factory=list)
    restarts: list[float] = field(default_factory=list)
    _ready: dict[str, asyncio.Event] = field(init=False)
    _last: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._ready = {service: asyncio.Event() for service in VICTIMS}
        for event in self._ready.values():
            event.set()

    async def deal(self, blow: Blow) -> None:
        """Hit a replica as soon as its sibling is ready and there is running work."""
        service = blow.service if isinstance(blow, Kill) else "job-service"
        await self._ready[service].wait()
        await asyncio.sleep(max(0.0, self._last + self.pause_seconds - time.monotonic()))
        running = await _wait_for(self.books.running, SECONDS_TO_MEET_WORK, "no work to hit")
        self.dealt.append(Dealt(blow, running))
        if isinstance(blow, Kill):
            await self._kill(blow)
        else:
            await self._freeze(blow)
        self._last = time.monotonic()

    async def settle(self) -> None:
        """Return when everything that was killed is ready again."""
        for event in self._ready.values():
            await event.wait()

    async def _kill(self, kill: Kill) -> None:
        begun = time.monotonic()
        await asyncio.to_thread(self.stack.kill, kill.service, kill.index)
        self._ready[kill.service].clear()
        await asyncio.to_thread(self.stack.start_service, kill.service, kill.index, wait=False)
        self.tasks.create_task(self._watch(kill.service, begun))

    async def _watch(self, service: str, begun: float) -> None:
        """Note when both replicas are ready again."""
        urls = [self.stack.service_url(service, index) for index in range(REPLICAS)]

        async def all_ready() -> bool:
            answers = [await asyncio.to_thread(readiness.ask, url) for url in urls]
            return all(answer.ready for answer in answers)

        await _wait_for(all_ready, SECONDS_TO_RESTART, f"{service} did not come back")
        self.restarts.append(time.monotonic() - begun)
        self._ready[service].set()

    async def _freeze(self, freeze: Freeze) -> None:
        self.stack.send("job-service", signal.SIGSTOP, freeze.index)
        try:
            await asyncio.sleep(self.freeze_seconds)
        finally:
            self.stack.send("job-service", signal.SIGCONT, freeze.index)


async def _wait_for(
    condition: Callable[[], Awaitable[T | None]], seconds: float, otherwise: str
) -> T:
    deadline = time.monotonic() + seconds
    while not (found := await condition()):
        assert time.monotonic() < deadline, f"{otherwise} within {seconds:.0f} s"
        await asyncio.sleep(0.1)
    return found
