"""When a target that keeps failing is left alone, and how it is tried again.

closed -> (failures within the window) -> open -> (time) -> half-open -> (one probe) -> closed,
or open again

Time is in seconds from any start; the caller brings it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class BreakerState(StrEnum):
    CLOSED = "closed"
    HALF_OPEN = "half_open"
    """It is time to try again: one call at a time is let through, the probe."""
    OPEN = "open"


class Outcome(StrEnum):
    """What a call says about the health of the target."""

    WELL = "well"
    SICK = "sick"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class BreakerRules:
    failures: int = 5
    """So many of them within the window open it."""
    window_seconds: float = 60.0
    open_seconds: float = 60.0
    probe_seconds: float = 90.0
    """A probe of which nothing was heard for so long counts no more."""


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to make one call."""

    probe: str = ""
    """The id of a probe; empty for any other call."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """The breaker of one target."""

    rules: BreakerRules
    failed_at: tuple[float, ...] = ()
    """Oldest first; while it is closed."""
    open_until: float | None = None
    """`None`: it is closed. In the past: it is half-open."""
    probe: str = ""
    probe_until: float = 0.0
    wait_until: float = 0.0
    """The target asked to be left alone until then, healthy or not."""

    def state(self, now: float) -> BreakerState:
        if self.open_until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self.open_until else BreakerState.HALF_OPEN

    def is_probed(self, now: float) -> bool:
        return bool(self.probe) and now < self.probe_until

    def admitted(self, now: float, probe: str) -> tuple[Breaker, Permit | None]:
        """Return leave to make a call, or `None`.

        Args:
            now: The time.
            probe: A new id, for the case that the call is the probe.
        """
        state = self.state(now)
        if now < self.wait_until or state is BreakerState.OPEN:
            return self, None
        if state is BreakerState.CLOSED:
            return self, Permit()
        if self.is_probed(now):
            return self, None
        probed = replace(self, probe=probe, probe_until=now + self.rules.probe_seconds)
        return probed, Permit(probe)

    def recorded(self, now: float, permit: Permit, outcome: Outcome) -> Breaker:
        """Return the breaker after a call. Only the probe changes one that is not closed."""
        if self.open_until is None:
            return self._failed(now) if outcome is Outcome.SICK else self
        if not permit.probe or permit.probe != self.probe:
            return self
        if outcome is Outcome.WELL:
            return replace(self, failed_at=(), open_until=None, probe="")
        if outcome is Outcome.SICK:
            return self._opened(now)
        return replace(self, probe="")

    def waiting(self, now: float, seconds: float) -> Breaker:
        """Return the breaker of a target that wants no call for so long."""
        return replace(self, wait_until=max(self.wait_until, now + seconds))

    def _failed(self, now: float) -> Breaker:
        recent = tuple(at for at in self.failed_at if at > now - self.rules.window_seconds)
        failed = replace(self, failed_at=(*recent, now))
        return failed._opened(now) if len(failed.failed_at) >= self.rules.failures else failed

    def _opened(self, now: float) -> Breaker:
        return replace(
            self, failed_at=(), open_until=now + self.rules.open_seconds, probe="", probe_until=0.0
        )
