"""What a chaos run does: how many jobs, and who is hit in which order."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

VICTIMS = ("job-service", "compute-router", "gpu-worker", "cost-service")
REPLICAS = 2


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL for one replica; it is started again at once."""

    service: str
    index: int


@dataclass(frozen=True, slots=True)
class Freeze:
    """SIGSTOP for one job-service until others have taken over its work, then SIGCONT."""

    index: int


Blow = Kill | Freeze


@dataclass(frozen=True, slots=True)
class ChaosPlan:
    """A run. The same seed hits the same replicas in the same order.

    Attributes:
        jobs: How many are submitted.
        kills: How many processes are killed, spread evenly over all victims.
        freezes: How many times a job-service is stopped for longer than its leases.
        seed: Printed with the result; give it as CHAOS_SEED to have the same order again.
        pause_seconds: The least time between two blows.
        lease_seconds: How long a job stays with a replica that is not heard of.
        drain_seconds: How long the jobs may take to end after the last blow.
    """

    jobs: int
    kills: int
    freezes: int
    seed: int
    pause_seconds: float = 0.8
    lease_seconds: float = 2.0
    drain_seconds: float = 60.0

    @classmethod
    def from_environment(cls) -> ChaosPlan:
        """Read CHAOS_JOBS, CHAOS_KILLS, CHAOS_FREEZES and CHAOS_SEED; the defaults are small."""
        return cls(
            jobs=int(os.environ.get("CHAOS_JOBS", "1000")),
            kills=int(os.environ.get("CHAOS_KILLS", "20")),
            freezes=int(os.environ.get("CHAOS_FREEZES", "2")),
            seed=int(os.environ.get("CHAOS_SEED") or random.randrange(1_000_000)),
        )

    def blows(self) -> list[Blow]:
        """Return who is hit, in order: rounds over all victims, freezes spread among them."""
        chance = random.Random(self.seed)
        blows: list[Blow] = []
        while len(blows) < self.kills:
            for service in chance.sample(VICTIMS, len(VICTIMS)):
                blows.append(Kill(service, chance.randrange(REPLICAS)))
        del blows[self.kills :]
        for number in range(self.freezes):
            place = (number + 1) * len(blows) // (self.freezes + 1)
            blows.insert(place, Freeze(chance.randrange(REPLICAS)))
        return blows

    def waves(self) -> list[Sequence[int]]:
        """Return the numbers of the jobs that are submitted before each blow."""
        count = self.kills + self.freezes
        edges = [self.jobs * number // count for number in range(count + 1)]
        return [range(start, end) for start, end in pairwise(edges)]
