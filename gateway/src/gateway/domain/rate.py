"""How often somebody may call, and whether they may now."""

from __future__ import annotations

import math
from dataclasses import dataclass

WINDOW_SECONDS = 60


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most so many calls in any minute.

    `name` says in headers and counters which limit it is.
    """

    name: str
    per_minute: int

    @property
    def policy(self) -> str:
        """The value of `RateLimit-Policy`."""
        return f'"{self.name}";q={self.per_minute};w={WINDOW_SECONDS}'


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a limiter says about one call.

    `reset_seconds` is when the oldest call in the window stops counting.
    """

    allowed: bool
    remaining: int
    reset_seconds: float

    @property
    def retry_seconds(self) -> int:
        """Whole seconds after which a refused call may succeed, at least 1."""
        return max(1, math.ceil(self.reset_seconds))

    def header(self, limit: RateLimit) -> str:
        """The value of `RateLimit`."""
        return f'"{limit.name}";r={self.remaining};t={self.retry_seconds}'
