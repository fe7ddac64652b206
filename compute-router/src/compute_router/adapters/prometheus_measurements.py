"""Decisions and executions as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Collection

from prometheus_client import CollectorRegistry, Counter, Gauge

from compute_router.usecases.worker_fleet import WorkerFleet
from service_kit.metrics import OTHER


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
        workers = Gauge("router_workers", "Workers that may get work.", registry=registry)
        workers.set_function(lambda: len(fleet.loads()))
        away = Gauge("router_registry_away", "1 while Redis does not answer.", registry=registry)
        away.set_function(lambda: int(fleet.registry_away))

    def decided(self, target: str, reason: str) -> None:
        self._decisions.labels(self._known(target), reason).inc()

    def executed(self, target: str, outcome: str) -> None:
        self._executions.labels(self._known(target), outcome).inc()

    def _known(self, target: str) -> str:
        return target if target in self._targets else OTHER
