"""Prometheus metrics: one registry per service, and label values from known sets only.

A label never holds what a client chose: no path, no id, no free text. gRPC
methods come from our own descriptors, HTTP routes from route templates.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    ProcessCollector,
)

OTHER: Final = "_OTHER"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


def new_registry(service: str) -> CollectorRegistry:
    """Return a registry that knows that the service is up, since when, and what it uses."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    started = time.monotonic()
    up = Gauge("service_up", "1 while the process runs.", ["service"], registry=registry)
    up.labels(service).set(1)
    uptime = Gauge("service_uptime_seconds", "Time since start.", ["service"], registry=registry)
    uptime.labels(service).set_function(lambda: time.monotonic() - started)
    return registry


class GrpcMetrics:
    """Counts and times calls on one side of gRPC.

    Args:
        side: "server" or "client"; the first word of the metrics' names after `grpc_`.
        registry: Where they are shown. Use `kit_metrics` to share one per registry.
    """

    def __init__(self, side: str, registry: CollectorRegistry) -> None:
        self._started = Counter(
            f"grpc_{side}_started_total",
            "Calls begun; what is not handled yet is under way.",
            ["grpc_service", "grpc_method"],
            registry=registry,
        )
        self._handled = Counter(
            f"grpc_{side}_handled_total",
            "Calls finished, by outcome.",
            ["grpc_service", "grpc_method", "grpc_code"],
            registry=registry,
        )
        self._seconds = Histogram(
            f"grpc_{side}_handling_seconds",
            "Time from the first message to the end of the call.",
            ["grpc_service", "grpc_method"],
            buckets=_SECONDS,
            registry=registry,
        )

    def started(self, method: str) -> None:
        """Record that a call of the full method name began."""
        _, service, name = method.split("/", 2)
        self._started.labels(service, name).inc()

    def finished(self, method: str, code: str, seconds: float) -> None:
        """Record the end of one call of the full method name ("/package.Service/Method")."""
        _, service, name = method.split("/", 2)
        self._handled.labels(service, name, code).inc()
        self._seconds.labels(service, name).observe(seconds)


@dataclass(frozen=True, slots=True)
class KitMetrics:
    """What the kit itself measures, once per registry."""

    server: GrpcMetrics
    client: GrpcMetrics
    loop_failures: Counter


_by_registry: WeakKeyDictionary[CollectorRegistry, KitMetrics] = WeakKeyDictionary()


def kit_metrics(registry: CollectorRegistry) -> KitMetrics:
    """Return the kit's metrics in a registry, made at first use."""
    found = _by_registry.get(registry)
    if found is None:
        found = KitMetrics(
            server=GrpcMetrics("server", registry),
            client=GrpcMetrics("client", registry),
            loop_failures=Counter(
                "loop_tick_failures_total",
                "Rounds of a background loop that failed and will be repeated.",
                ["loop"],
                registry=registry,
            ),
        )
        _by_registry[registry] = found
    return found


class SchedulerMetrics:
    """Counts and times the runs of periodic work (see `scheduler`)."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._runs = Counter(
            "scheduled_task_runs_total",
            "Runs that this process ended, by outcome.",
            ["task", "outcome"],
            registry=registry,
        )
        self._finished_at = Gauge(
            "scheduled_task_last_run_timestamp_seconds",
            "When the latest run ended, on whichever replica.",
            ["task"],
            registry=registry,
        )
        self._seconds = Gauge(
            "scheduled_task_last_duration_seconds",
            "How long the latest run took, on whichever replica.",
            ["task"],
            registry=registry,
        )

    def ran(self, task: str, outcome: str, runs: int = 1) -> None:
        """Count runs that ended here."""
        self._runs.labels(task, outcome).inc(runs)

    def last_run(self, task: str, finished_at: float, seconds: float | None) -> None:
        """Show the latest run: when it ended, in epoch seconds, and how long it took, if known."""
        self._finished_at.labels(task).set(finished_at)
        if seconds is not None:
            self._seconds.labels(task).set(seconds)


class HttpMetrics:
    """Counts and times HTTP requests by route template."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "http_requests_total",
            "Requests finished.",
            ["method", "route", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "http_request_seconds",
            "Time from the request's first byte to the end of the response.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=registry,
        )

    def finished(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """Record one request.

        Args:
            method: As sent; a method we do not know counts as `_OTHER`.
            route: The template that matched ("/jobs/{job_id}"), or `None` where none did.
            status: The HTTP status, 0 if the client left before there was one.
            seconds: How long it took.
        """
        method = method if method in _METHODS else OTHER
        route = route or OTHER
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)
