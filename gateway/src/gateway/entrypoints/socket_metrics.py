"""What is measured of WebSockets."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SIZES: Final = (100, 1_000, 10_000, 100_000, 1_000_000)


class SocketMetrics:
    """Counts sockets and the messages that are sent on them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._connections = Counter(
            "ws_connections_total",
            "Sockets that were asked for, by what became of it.",
            ["outcome"],
            registry=registry,
        )
        self._active = Gauge("ws_active_sessions", "Sockets that are open.", registry=registry)
        self._sizes = Histogram(
            "ws_message_size_bytes", "Messages sent.", buckets=_SIZES, registry=registry
        )

    def accepted(self) -> None:
        self._connections.labels("accepted").inc()
        self._active.inc()

    def refused(self) -> None:
        self._connections.labels("refused").inc()

    def sent(self, size_bytes: int) -> None:
        self._sizes.observe(size_bytes)

    def closed(self) -> None:
        """Count a socket out that was accepted."""
        self._active.dec()
