"""A target behind its breaker."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import structlog

from compute_router.domain.breaker import BreakerState, Outcome, Permit
from compute_router.domain.errors import (
    AskedToWait,
    ExecutionFailed,
    KeyRefused,
    NoCapacity,
    RanNothing,
    TargetAway,
    TargetUnavailable,
    WorkerLost,
)
from compute_router.domain.execution import Started, TargetEvent, Task
from compute_router.domain.target import TargetState
from compute_router.usecases.ports import BreakerView, CircuitBreaker, Target
from service_kit.errors import ServiceError

log = structlog.get_logger(__name__)

# What one prompt can bring about, however well the target is: no tenant closes it for all.
_CAUSED_BY_PROMPT: Final = frozenset({"BODY_TOO_LARGE", "EVENT_TOO_LARGE"})


@dataclass(frozen=True, slots=True)
class GuardedTarget:
    """Implements `Target`: the target within, as long as its breaker lets calls through."""

    target: Target
    breaker: CircuitBreaker

    @property
    def name(self) -> str:
        return self.target.name

    @property
    def paid(self) -> bool:
        return self.target.paid

    def state(self) -> TargetState:
        state, view = self.target.state(), self.breaker.view()
        if not view.lets_through:
            return replace(state, available=False, status=_status(view))
        if view.state is BreakerState.HALF_OPEN:
            return replace(state, status=f"{state.status}; breaker half-open, one call may try")
        return state

    async def execute(self, task: Task) -> AsyncGenerator[TargetEvent, None]:
        permit = await self.breaker.admit()
        if permit is None:
            raise self._kept_away(task.model)
        outcome, wait = Outcome.UNKNOWN, None
        try:
            async with aclosing(self.target.execute(task)) as events:
                async for event in events:
                    if permit.probe and not isinstance(event, Started):
                        # It answers: others need not wait for the end of a long answer.
                        await self._record(permit, Outcome.WELL, None)
                        permit = Permit()
                    yield event
            outcome = Outcome.WELL
        except ServiceError as error:
            outcome, wait = _judged(error)
            raise
        finally:
            await self._record(permit, outcome, wait)

    async def _record(self, permit: Permit, outcome: Outcome, wait: timedelta | None) -> None:
        if not permit.probe and outcome is not Outcome.SICK and wait is None:
            return
        before = self.breaker.view().state
        try:
            await self.breaker.record(permit, outcome, wait)
        except Exception as error:
            # Neither an answer nor the true error may be lost by this.
            log.error("breaker.unrecorded", target=self.name, reason=type(error).__name__)
        after = self.breaker.view().state
        if after is not before:
            log.warning("breaker.changed", target=self.name, before=before, after=after)

    def _kept_away(self, model: str) -> TargetUnavailable:
        view = self.breaker.view()
        wait = timedelta(seconds=max(1, math.ceil(view.seconds_left)))
        return TargetUnavailable(model, f"{self.name}: {_status(view)}", wait)


def _status(view: BreakerView) -> str:
    seconds = math.ceil(view.seconds_left)
    if view.asked_to_wait:
        return f"asked to be left alone for {seconds} s more"
    if view.state is BreakerState.OPEN:
        return f"breaker open for {seconds} s more"
    return "breaker half-open, and its one probe is under way"


def _judged(error: ServiceError) -> tuple[Outcome, timedelta | None]:
    """Return what an error says about the target's health, and how long it wants to rest."""
    if isinstance(error, TargetAway):
        return Outcome.SICK, error.wait
    if isinstance(error, ExecutionFailed) and error.cause in _CAUSED_BY_PROMPT:
        return Outcome.UNKNOWN, None
    if isinstance(error, (ExecutionFailed, WorkerLost)):
        return Outcome.SICK, None
    if isinstance(error, (AskedToWait, KeyRefused)):
        return Outcome.WELL, error.wait
    if isinstance(error, RanNothing) and not isinstance(error, NoCapacity):
        # It answered: it is the prompt, the model or the key that it does not take.
        return Outcome.WELL, None
    return Outcome.UNKNOWN, None
