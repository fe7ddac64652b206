"""Deals the blows: each meets work of its victim, and never both replicas of one service."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from chaos_books import Books, Running
from chaos_plan import REPLICAS, VICTIMS, Blow, Freeze, Kill, RestartPostgres, WipeRedis
from chaos_stack import arm
from chaos_victims import work_of
from redis.asyncio import Redis

from weir_local import readiness
from weir_local.services import NAMES
from weir_local.stack import Stack

T = TypeVar("T")

SECONDS_TO_MEET_WORK = 30.0
SECONDS_TO_RESTART = 60.0


@dataclass(frozen=True, slots=True)
class Dealt:
    """A blow, the work that was under way when it fell, and how much of that its victim held.

    What a blow at a failpoint of the ledger met is the one call that passed there.
    """

    blow: Blow
    running: Running
    held: int


@dataclass(frozen=True, slots=True)
class Outage:
    """How long Postgres was away, by our own clock, and how long others took to be ready then."""

    began: float
    ended: float
    ready_seconds: float


@dataclass
class Assailant:
    """Hits the replicas of a stack, one after the other.

    Attributes:
        pause_seconds: The least time between two blows.
        freeze_seconds: How long a frozen replica stays so.
        dealt: What fell so far.
        restarts: Seconds from each kill until its replica was ready again.
        outages: Of Postgres.
        wiped_at: When Redis was emptied, by the database's clock.
    """

    stack: Stack
    books: Books
    tasks: asyncio.TaskGroup
    pause_seconds: float
    freeze_seconds: float
    dealt: list[Dealt] = field(default_factory=list)
    restarts: list[float] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)
    wiped_at: list[datetime] = field(default_factory=list)
    _ready: dict[str, asyncio.Event] = field(init=False)
    _last: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._ready = {service: asyncio.Event() for service in VICTIMS}
        for event in self._ready.values():
            event.set()

    async def turn(self, blow: Blow) -> None:
        """Return when it is the blow's turn: nothing is down that the work could go to."""
        match blow:
            case Kill(service=service):
                await self._ready[service].wait()
            case Freeze():
                await self._ready["job-service"].wait()
            case RestartPostgres():
                await self.settle()

    async def deal(self, blow: Blow) -> None:
        """Hit, after the pause, as soon as that meets work. Jobs have to arrive meanwhile."""
        await asyncio.sleep(max(0.0, self._last + self.pause_seconds - time.monotonic()))
        match blow:
            case Kill():
                await self._kill(blow)
            case Freeze():
                await self._freeze(blow)
            case RestartPostgres():
                await self._restart_postgres()
            case WipeRedis():
                await self._wipe_redis()
        self._last = time.monotonic()

    async def settle(self) -> None:
        """Return when everything that was killed is ready again."""
        for event in self._ready.values():
            await event.wait()

    async def _meet(self, service: str, index: int) -> tuple[Running, int]:
        """Return what runs as soon as the replica holds some of it."""

        async def held() -> tuple[Running, int] | None:
            running = await self.books.running()
            work = await work_of(self.stack, service, index)
            return (running, work) if running and work else None

        return await wait_for(held, SECONDS_TO_MEET_WORK, f"{service} {index} got no work")

    async def _kill(self, kill: Kill) -> None:
        if kill.failpoint is None:
            met = await self._meet(kill.service, kill.index)
            begun = time.monotonic()
            await asyncio.to_thread(self.stack.kill, kill.service, kill.index)
        else:
            await self._kill_at(kill, kill.failpoint)
            met = Running(await self.books.now(), frozenset()), 1
            begun = time.monotonic()
        self.dealt.append(Dealt(kill, *met))
        self._ready[kill.service].clear()
        await asyncio.to_thread(self.stack.start_service, kill.service, kill.index, wait=False)
        self.tasks.create_task(self._watch(kill.service, begun))

    async def _kill_at(self, kill: Kill, failpoint: str) -> None:
        arm(self.stack, kill.service, kill.index, f"{failpoint}=kill")

        async def died() -> bool:
            return self.stack.find(kill.service, kill.index) is None

        await wait_for(died, SECONDS_TO_MEET_WORK, f"no call passed {failpoint}")
        arm(self.stack, kill.service, kill.index, "")

    async def _running(self) -> Running:
        return await wait_for(self.books.running, SECONDS_TO_MEET_WORK, "no work to hit")

    async def _watch(self, service: str, begun: float) -> None:
        """Note when both replicas are ready again."""
        await wait_until_ready(self.stack, [(service, index) for index in range(REPLICAS)])
        self.restarts.append(time.monotonic() - begun)
        self._ready[service].set()

    async def _freeze(self, freeze: Freeze) -> None:
        met = await self._meet("job-service", freeze.index)
        self.stack.send("job-service", signal.SIGSTOP, freeze.index)
        self.dealt.append(Dealt(freeze, *met))
        try:
            await asyncio.sleep(self.freeze_seconds)
        finally:
            self.stack.send("job-service", signal.SIGCONT, freeze.index)

    async def _restart_postgres(self) -> None:
        running = await self._running()
        self.dealt.append(Dealt(RestartPostgres(), running, len(running.attempts)))
        began = time.monotonic()
        await asyncio.to_thread(self.stack.postgres.restart_immediate)
        returned = time.monotonic()
        everybody = [
            (name, index) for name in NAMES for index in range(self.stack.replicas.get(name, 1))
        ]
        await wait_until_ready(self.stack, everybody)
        ended = time.monotonic()
        self.outages.append(Outage(began, ended, ended - returned))

    async def _wipe_redis(self) -> None:
        running = await self._running()
        self.dealt.append(Dealt(WipeRedis(), running, len(running.attempts)))
        client = Redis.from_url(self.stack.valkey.url)
        try:
            await client.flushall()
        finally:
            await client.aclose()
        self.wiped_at.append(await self.books.now())


async def wait_until_ready(stack: Stack, replicas: list[tuple[str, int]]) -> None:
    """Return when all of these say that they are ready."""

    async def all_ready() -> bool:
        urls = [stack.service_url(service, index) for service, index in replicas]
        answers = [asyncio.to_thread(readiness.ask, url) for url in urls]
        return all(answer.ready for answer in await asyncio.gather(*answers))

    await wait_for(all_ready, SECONDS_TO_RESTART, f"not ready again: {replicas}")


async def wait_for(
    condition: Callable[[], Awaitable[T | None]], seconds: float, otherwise: str
) -> T:
    """Return the condition's first result that is true."""
    deadline = time.monotonic() + seconds
    while not (found := await condition()):
        assert time.monotonic() < deadline, f"{otherwise} within {seconds:.0f} s"
        await asyncio.sleep(0.1)
    return found
