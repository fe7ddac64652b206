"""Finished work as Prometheus metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gpu_worker.domain.generation import Usage
from gpu_worker.domain.prompt import Operation
from gpu_worker.usecases.slots import Slots

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class PrometheusMeasurements:
    """Counts prompts by operation and outcome, tokens by direction."""

    def __init__(self, registry: CollectorRegistry, slots: Slots) -> None:
        self._prompts = Counter(
            "worker_prompts_total",
            "Prompts that are over.",
            ["operation", "outcome"],
            registry=registry,
        )
        self._tokens = Counter(
            "worker_tokens_total",
            "Tokens of finished prompts; cached ones count as input too.",
            ["direction"],
            registry=registry,
        )
        self._seconds = Histogram(
            "worker_prompt_seconds",
            "Time from the start of a prompt to its end.",
            buckets=_SECONDS,
            registry=registry,
        )
        total = Gauge("worker_slots_total", "Prompts that may run at once.", registry=registry)
        total.set(slots.total)
        busy = Gauge("worker_slots_busy", "Prompts that run now.", registry=registry)
        busy.set_function(lambda: slots.busy)

    def finished(
        self, operation: Operation, outcome: str, usage: Usage | None, seconds: float
    ) -> None:
        self._prompts.labels(str(operation), outcome).inc()
        self._seconds.observe(seconds)
        if usage is not None:
            self._tokens.labels("input").inc(usage.tokens_input)
            self._tokens.labels("output").inc(usage.tokens_output)
            self._tokens.labels("input_cached").inc(usage.tokens_input_cached)
