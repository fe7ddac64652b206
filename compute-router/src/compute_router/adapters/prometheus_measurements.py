"""Decisions and executions as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from compute_router.domain.breaker import BreakerState
from compute_router.domain.errors import (
    PROMPT_TOO_LONG,
    ModelNotServed,
    NoCapacity,
    OperationNotServed,
    TargetUnavailable,
)
from compute_router.usecases.ports import CircuitBreaker
from compute_router.usecases.worker_fleet import WorkerFleet
from service_kit.metrics import OTHER

_REFUSALS: Final = frozenset(
    {
        NoCapacity.reason,
        TargetUnavailable.reason,
        ModelNotServed.reason,
        OperationNotServed.reason,
        PROMPT_TOO_LONG,
        "INVALID_ARGUMENT",
    }
)
_BREAKER_STATES: Final = {
    BreakerState.CLOSED: 0.0,
    BreakerState.HALF_OPEN: 1.0,
    BreakerState.OPEN: 2.0,
}


class PrometheusMeasurements:
    """Counts by target, reason and outcome; all three come from sets we know.

    Args:
        registry: Where they are shown.
        fleet: Whose size is shown.
        targets: The configured targets; anything else counts as `_OTHER`.
    """

    def __init__(
        self, registry: CollectorRegistry, fleet: WorkerFleet, targets: Collection[str]
    ) -> None:
        self._targets = frozenset(targets)
        self._decisions = Counter(
            "routing_decisions_total",
            "Decisions made for jobs.",
            ["target", "reason"],
            registry=registry,
        )
        self._executions = Counter(
            "routing_executions_total",
            "Prompts given to targets, by how it ended.",
            ["target", "outcome"],
            registry=registry,
        )
        self._fallbacks = Counter(
            "router_fallbacks_total",
            "Prompts that went to the next target, by why the one before did not run them.",
            ["from", "to", "reason"],
            registry=registry,
        )
        workers = Gauge("router_workers", "Workers that may get work.", registry=registry)
        workers.set_function(lambda: len(fleet.loads()))
        self._breakers = Gauge(
            "router_breaker_state",
            "How a target's breaker stands: 0 closed, 1 half-open, 2 open.",
            ["target"],
            registry=registry,
        )
        away = Gauge("router_registry_away", "1 while Redis does not answer.", registry=registry)
        away.set_function(lambda: int(fleet.registry_away))

    def decided(self, target: str, reason: str) -> None:
        self._decisions.labels(self._known(target), reason).inc()

    def executed(self, target: str, outcome: str) -> None:
        self._executions.labels(self._known(target), outcome).inc()

    def fell_back(self, from_target: str, to_target: str, reason: str) -> None:
        known_reason = reason if reason in _REFUSALS else OTHER
        self._fallbacks.labels(self._known(from_target), self._known(to_target), known_reason).inc()

    def show_breaker(self, target: str, breaker: CircuitBreaker) -> None:
        """Show how a target's breaker stands."""
        self._breakers.labels(self._known(target)).set_function(
            lambda: _BREAKER_STATES[breaker.view().state]
        )

    def _known(self, target: str) -> str:
        return target if target in self._targets else OTHER
