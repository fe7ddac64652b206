"""Fakes for the ports of the worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta

import pytest

from gpu_worker.domain.generation import Accepted, Delta, Ended, FinishReason, Usage
from gpu_worker.domain.model import ServedModel, TemplateOverhead
from gpu_worker.domain.prompt import ChatMessage, Operation, Prompt, Role
from gpu_worker.usecases.generate import Generate
from gpu_worker.usecases.slots import Slots
from service_kit.signatures import SigningKey
from service_kit.testing.clock import FixedClock


class FakeEngine:
    """Gives events as told; waits or raises where one is an event to wait for or an error."""

    def __init__(self) -> None:
        self.events = [
            Accepted(),
            Delta("a", 1),
            Delta("b", 1),
            Ended(FinishReason.STOP, Usage(3, 2)),
        ]
        self.closed = False
        self.clock = FixedClock()

    async def generate(self, prompt: Prompt) -> AsyncGenerator:
        try:
            for event in self.events:
                if isinstance(event, Exception):
                    raise event
                if isinstance(event, asyncio.Event):
                    await event.wait()
                    continue
                self.clock.advance(0.5)
                yield event
        finally:
            self.closed = True

    async def count_tokens(self, text: str) -> int:
        return len(text)


class FakeMeasurements:
    def __init__(self) -> None:
        self.outcomes = []

    def finished(self, operation, outcome, usage, seconds) -> None:
        self.outcomes.append((outcome, usage))


class FakeRegistry:
    """A router that takes workers for 9 s, or fails as told."""

    def __init__(self) -> None:
        self.announced = []
        self.left = []
        self.failures = []

    async def register(self, announcement):
        if self.failures:
            raise self.failures.pop(0)
        self.announced.append(announcement)
        return timedelta(seconds=9)

    async def deregister(self, worker_id):
        if self.failures:
            raise self.failures.pop(0)
        self.left.append(worker_id)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def measurements() -> FakeMeasurements:
    return FakeMeasurements()


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry()


@pytest.fixture
def generate(engine, measurements) -> Generate:
    operations = (Operation.CHAT, Operation.EMBEDDING)
    model = ServedModel("small", 100, 10, TemplateOverhead(20, 5), "d1", operations)
    key = SigningKey.generate()
    return Generate(engine, Slots(1), engine.clock, measurements, "w1", model, key)


@pytest.fixture
def prompt() -> Prompt:
    return Prompt("j1", 1, "small", (ChatMessage(Role.USER, "secret words"),))
