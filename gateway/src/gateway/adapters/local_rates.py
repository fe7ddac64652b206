"""Rates counted in this process alone."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final

from gateway.domain.rate import WINDOW_SECONDS, RateLimit, Verdict
from service_kit.clock import Clock

MAX_IDENTITIES: Final = 20_000


class LocalRates:
    """A moving window per identity. The identities that were seen longest ago are forgotten."""

    def __init__(self, clock: Clock, *, max_identities: int = MAX_IDENTITIES) -> None:
        self._clock = clock
        self._max_identities = max_identities
        self._calls: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    async def hit(self, limit: RateLimit, identity: str) -> Verdict:
        now = self._clock.monotonic()
        calls = self._window(limit, identity, now)
        allowed = len(calls) < limit.per_minute
        if allowed:
            calls.append(now)
        return Verdict(allowed, limit.per_minute - len(calls), calls[0] + WINDOW_SECONDS - now)

    def note(self, limit: RateLimit, identity: str) -> None:
        """Remember a call that was allowed elsewhere."""
        now = self._clock.monotonic()
        calls = self._window(limit, identity, now)
        if len(calls) < limit.per_minute:
            calls.append(now)

    def _window(self, limit: RateLimit, identity: str, now: float) -> deque[float]:
        """Return the times of the calls in the last minute, oldest first."""
        key = (limit.name, identity)
        calls = self._calls.setdefault(key, deque())
        self._calls.move_to_end(key)
        while len(self._calls) > self._max_identities:
            self._calls.popitem(last=False)
        while calls and calls[0] <= now - WINDOW_SECONDS:
            calls.popleft()
        return calls
