"""Metrics: labels come from sets we know, whatever a target says."""

import pytest

from compute_router.adapters.prometheus_measurements import PrometheusMeasurements
from compute_router.domain.breaker import BreakerState
from compute_router.usecases.ports import BreakerView
from service_kit.metrics import new_registry


@pytest.fixture
def registry():
    return new_registry("compute-router")


@pytest.fixture
def metrics(registry, fleet):
    return PrometheusMeasurements(registry, fleet, ["local", "yotta"])


@pytest.mark.parametrize(
    ("reason", "label"), [("NO_CAPACITY", "NO_CAPACITY"), ("said by a worker", "_OTHER")]
)
def test_fallback_is_counted(registry, metrics, reason, label):
    """By who gave the prompt to whom, and why."""
    metrics.fell_back("yotta", "local", reason)

    labels = {"from": "yotta", "to": "local", "reason": label}
    assert registry.get_sample_value("router_fallbacks_total", labels) == 1


@pytest.mark.parametrize("state", BreakerState)
def test_every_state_of_a_breaker_is_shown(registry, metrics, state):
    """0 closed, 1 half-open, 2 open."""

    class Shown:
        def view(self):
            return BreakerView(state)

    metrics.show_breaker("yotta", Shown())

    shown = registry.get_sample_value("router_breaker_state", {"target": "yotta"})
    assert shown == list(BreakerState).index(state)
