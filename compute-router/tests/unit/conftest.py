"""Fakes for the ports of the router."""

from __future__ import annotations

from datetime import timedelta

import pytest

from compute_router.domain.complexity import ComplexityScale
from compute_router.domain.execution import Delta, Finished, FinishReason, Started, Usage
from compute_router.domain.target import Model, TargetState
from compute_router.domain.worker import Worker
from compute_router.usecases.ports import StoredWorker
from compute_router.usecases.worker_fleet import WorkerFleet
from service_kit.redis_client import RedisUnavailable
from service_kit.testing.clock import FixedClock


def a_model(name: str = "small", **changes) -> Model:
    values = {"context_tokens": 1000, "default_max_tokens": 100, "digest": "d1"}
    return Model(name, **{**values, **changes})


def a_target(name: str = "local", **changes) -> TargetState:
    values = {
        "available": True,
        "paid": name != "local",
        "own": name == "local",
        "models": (a_model(),),
        "slots_total": 4,
        "slots_busy": 0,
        "status": "well",
    }
    return TargetState(name=name, **{**values, **changes})


def a_worker(worker_id: str = "w1", **changes) -> Worker:
    values = {"address": "10.0.0.1:9000", "models": (a_model(),), "slots_total": 4}
    return Worker(worker_id, **{**values, **changes})


@pytest.fixture
def make_model():
    return a_model


@pytest.fixture
def make_target():
    return a_target


@pytest.fixture
def make_worker():
    return a_worker


class FakeTarget:
    """A target that gives events as told, or raises where one is an error."""

    def __init__(self, name: str = "local", *, paid: bool = False, **changes) -> None:
        self.name = name
        self.paid = paid
        self.changes = changes
        self.events = [
            Started(name, "small"),
            Delta("a", 1),
            Finished(FinishReason.STOP, Usage(1, 1)),
        ]
        self.tasks = []
        self.closed = 0

    def state(self) -> TargetState:
        return a_target(self.name, paid=self.paid, **self.changes)

    async def execute(self, task):
        self.tasks.append(task)
        try:
            for event in self.events:
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self.closed += 1


class FakeStore:
    """A shared registry in memory, which can be away."""

    def __init__(self) -> None:
        self.workers = {}
        self.away = False

    def _check(self) -> None:
        if self.away:
            raise RedisUnavailable

    async def save(self, worker, lease: timedelta) -> None:
        self._check()
        self.workers[worker.worker_id] = StoredWorker(worker, lease)

    async def remove(self, worker_id: str) -> None:
        self._check()
        self.workers.pop(worker_id, None)

    async def list(self):
        self._check()
        return list(self.workers.values())


class FakeMeasurements:
    def __init__(self) -> None:
        self.decisions = []
        self.executions = []
        self.fallbacks = []

    def decided(self, target, reason) -> None:
        self.decisions.append((target, str(reason)))

    def executed(self, target, outcome) -> None:
        self.executions.append((target, outcome))

    def fell_back(self, from_target, to_target, reason) -> None:
        self.fallbacks.append((from_target, to_target, reason))


@pytest.fixture
def make_fake_target():
    return FakeTarget


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def measurements() -> FakeMeasurements:
    return FakeMeasurements()


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def fleet(clock) -> WorkerFleet:
    return WorkerFleet(clock)


@pytest.fixture
def scale() -> ComplexityScale:
    return ComplexityScale(100, ("detailed", "complex", "advanced"))
