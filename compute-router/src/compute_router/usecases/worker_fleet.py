"""The workers that this router knows: told by themselves, or read from the shared registry.

Requests are answered from here, never from Redis. While the registry is away
its workers stay for a while longer: a worker that is really gone shows when it
is called.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from compute_router.domain.worker import Worker, WorkerLoad
from compute_router.usecases.ports import StoredWorker
from service_kit.clock import Clock

# How long a worker is believed to be there while nobody can renew it in the registry.
GRACE_SECONDS: Final = 300.0
# How long they are then given to come back to it.
_RENEWAL_SECONDS: Final = 5.0
# The registry's word about a beat that is known already differs by the time it travelled.
_SAME_BEAT_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class _Entry:
    worker: Worker
    expires_at: float
    running_here_at_report: int


class WorkerFleet:
    """Who is there, how much this router runs on each, and who is put aside for now.

    Used from the event loop only.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._running: dict[str, int] = {}
        self._aside_until: dict[str, float] = {}
        self.registry_away = False

    def announce(self, worker: Worker, lease: timedelta) -> None:
        """Take in what a worker says about itself."""
        self._entries[worker.worker_id] = _Entry(
            worker,
            self._clock.monotonic() + lease.total_seconds(),
            self._running.get(worker.worker_id, 0),
        )

    def remove(self, worker_id: str) -> None:
        """Give a worker no new work."""
        self._entries.pop(worker_id, None)

    def read(self, stored: Iterable[StoredWorker]) -> None:
        """Take in what the registry holds. What it has lost stays until its lease is over."""
        now = self._clock.monotonic()
        if self.registry_away:
            self._expect_renewals(now)
        self.registry_away = False
        for found in stored:
            known = self._entries.get(found.worker.worker_id)
            expires_at = now + found.remaining.total_seconds()
            if known is None or expires_at > known.expires_at + _SAME_BEAT_SECONDS:
                self.announce(found.worker, found.remaining)
        self._entries = {
            worker_id: entry for worker_id, entry in self._entries.items() if entry.expires_at > now
        }

    def _expect_renewals(self, now: float) -> None:
        """Let workers that outlived their lease stay until they have had time to renew it."""
        for worker_id, entry in self._entries.items():
            if now < entry.expires_at + GRACE_SECONDS:
                expires_at = max(entry.expires_at, now + _RENEWAL_SECONDS)
                self._entries[worker_id] = replace(entry, expires_at=expires_at)

    def workers(self) -> list[Worker]:
        """Return the workers that may get work."""
        return [load.worker for load in self.loads()]

    def loads(self) -> list[WorkerLoad]:
        """Return the workers that may get work, with how full they are."""
        now = self._clock.monotonic()
        grace = GRACE_SECONDS if self.registry_away else 0.0
        return [
            WorkerLoad(entry.worker, self._running.get(worker_id, 0), entry.running_here_at_report)
            for worker_id, entry in self._entries.items()
            if entry.expires_at + grace > now
            and not entry.worker.draining
            and self._aside_until.get(worker_id, now) <= now
        ]

    def put_aside(self, worker_id: str, seconds: float) -> None:
        """Give a worker no new work for a moment."""
        self._aside_until[worker_id] = self._clock.monotonic() + seconds

    @contextmanager
    def running(self, worker_id: str) -> Iterator[None]:
        """Count a prompt as running on the worker for the length of the block."""
        self._running[worker_id] = self._running.get(worker_id, 0) + 1
        try:
            yield
        finally:
            self._running[worker_id] -= 1
            if self._running[worker_id] <= 0:
                del self._running[worker_id]
