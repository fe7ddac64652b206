"""How often work is tried again, and how long it waits before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MOST_DOUBLINGS: Final = 6
# Whoever asks for more is asked again nevertheless: it may be wrong, or back early.
MOST_ASKED_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and how patiently.

    Attributes:
        backoff_seconds: Before the first retry; doubled for each further one.
        max_lost: So many lost executions make a dead letter.
        wait_seconds: Until work is offered again that nothing could take; doubled for each
            further time in a row, six times at most.
        most_wait_seconds: What such doubling comes to at most.
    """

    backoff_seconds: float = 60.0
    max_lost: int = 5
    wait_seconds: float = 0.5
    most_wait_seconds: float = 30.0

    def backoff(self, retry_count: int) -> float:
        return float(self.backoff_seconds * 2**retry_count)

    def wait(self, waits: int, asked_seconds: float, jitter: float) -> float:
        """Return how long to wait after so many waits; as long as was asked for, within reason."""
        doubled = self.wait_seconds * 2 ** min(waits, MOST_DOUBLINGS)
        grown = min(doubled, max(self.wait_seconds, self.most_wait_seconds))
        floor = min(asked_seconds, MOST_ASKED_SECONDS) * max(1.0, jitter)
        return float(max(grown * jitter, floor))
