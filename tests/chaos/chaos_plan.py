"""What a chaos run does: how many jobs, and who is hit in which order."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, pairwise

VICTIMS = ("job-service", "compute-router", "gpu-worker", "cost-service")
REPLICAS = 2
# A call to the ledger takes milliseconds: only at a failpoint does a kill surely meet one.
LEDGER_FAILPOINTS = (
    "before_hold_commit",
    "after_hold_commit",
    "before_post_commit",
    "after_post_commit",
)


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL for one replica; it is started again at once.

    Attributes:
        failpoint: Where in a call it dies; `None` for anywhere.
    """

    service: str
    index: int
    failpoint: str | None = None


@dataclass(frozen=True, slots=True)
class Freeze:
    """SIGSTOP for one job-service until others have taken over its work, then SIGCONT."""

    index: int


@dataclass(frozen=True, slots=True)
class RestartPostgres:
    """Postgres is shut down as by a crash, and started again at once."""


@dataclass(frozen=True, slots=True)
class WipeRedis:
    """FLUSHALL."""


Blow = Kill | Freeze | RestartPostgres | WipeRedis


@dataclass(frozen=True, slots=True)
class ChaosPlan:
    """A run. The same seed hits the same replicas in the same order.

    Attributes:
        jobs: How many are submitted.
        kills: How many processes are killed, spread evenly over the victims.
        freezes: How many times a job-service is stopped for longer than its leases.
        restarts: How many times Postgres crashes.
        wipes: How many times Redis is emptied.
        seed: Printed with the result; give it as CHAOS_SEED to have the same order again.
        jobs_per_second: How fast they arrive between blows.
        victims: The services that are killed.
        lease_seconds: How long a job stays with a replica that is not heard of.
        poll_seconds: How long a replica may overlook work that nobody hints at.
        worker_lease_seconds: How long a router knows a worker; it is told anew in a third of it.
    """

    jobs: int
    kills: int
    freezes: int
    restarts: int
    wipes: int
    seed: int
    jobs_per_second: float = 50.0
    victims: Sequence[str] = VICTIMS
    lease_seconds: float = 2.0
    poll_seconds: float = 0.2
    worker_lease_seconds: int = 2

    @classmethod
    def from_environment(cls) -> ChaosPlan:
        """Read CHAOS_JOBS, _KILLS, _FREEZES, _RESTARTS, _WIPES, _RATE, _SEED; else small."""
        return cls(
            jobs=int(os.environ.get("CHAOS_JOBS", "1000")),
            kills=int(os.environ.get("CHAOS_KILLS", "12")),
            freezes=int(os.environ.get("CHAOS_FREEZES", "2")),
            restarts=int(os.environ.get("CHAOS_RESTARTS", "1")),
            wipes=int(os.environ.get("CHAOS_WIPES", "1")),
            jobs_per_second=float(os.environ.get("CHAOS_RATE", "50")),
            seed=int(os.environ.get("CHAOS_SEED") or random.randrange(1_000_000)),
        )

    @property
    def pause_seconds(self) -> float:
        """The least time between two blows."""
        return max(0.8, self.jobs / len(self.blows()) / self.jobs_per_second)

    @property
    def drain_seconds(self) -> float:
        """How long the jobs may take to end after the last blow."""
        return 60.0 + self.jobs / 50

    @property
    def longest_poll_seconds(self) -> float:
        """How long it may take until what Redis forgot is told again by whoever knows it."""
        return max(self.poll_seconds, self.worker_lease_seconds / 3)

    def blows(self) -> list[Blow]:
        """Return who is hit, in order: rounds over all victims, everything else among them."""
        chance = random.Random(self.seed)
        failpoints = cycle(chance.sample(LEDGER_FAILPOINTS, len(LEDGER_FAILPOINTS)))
        blows: list[Blow] = []
        while len(blows) < self.kills:
            for service in chance.sample(self.victims, len(self.victims)):
                failpoint = next(failpoints) if service == "cost-service" else None
                blows.append(Kill(service, chance.randrange(REPLICAS), failpoint))
        del blows[self.kills :]
        others: list[Blow] = [Freeze(chance.randrange(REPLICAS)) for _ in range(self.freezes)]
        others += [RestartPostgres()] * self.restarts + [WipeRedis()] * self.wipes
        chance.shuffle(others)
        for number, other in enumerate(others):
            # From the end, so that what is there already keeps its share of the room.
            place = len(blows) - (number + 1) * self.kills // (len(others) + 1) - number
            blows.insert(max(0, place), other)
        return blows

    def waves(self) -> list[Sequence[int]]:
        """Return the numbers of the jobs that are submitted before each blow."""
        count = len(self.blows())
        edges = [self.jobs * number // count for number in range(count + 1)]
        return [range(start, end) for start, end in pairwise(edges)]
