"""A breaker of this process alone."""

from __future__ import annotations

from datetime import timedelta

from compute_router.domain.breaker import Breaker, BreakerRules, BreakerState, Outcome, Permit
from compute_router.usecases.ports import BreakerView
from service_kit.clock import Clock
from service_kit.ids import new_id


class LocalBreaker:
    """Implements `CircuitBreaker` in memory. Used from the event loop only."""

    def __init__(self, rules: BreakerRules, clock: Clock) -> None:
        self._clock = clock
        self.breaker = Breaker(rules)
        """May be replaced by what is known elsewhere; its times are those of `now`."""

    @property
    def now(self) -> float:
        return self._clock.monotonic()

    def view(self) -> BreakerView:
        breaker, now = self.breaker, self.now
        state = breaker.state(now)
        closed_for = (breaker.open_until or 0.0) - now if state is BreakerState.OPEN else 0.0
        wait = breaker.wait_until - now
        return BreakerView(
            state,
            seconds_left=max(0.0, closed_for, wait),
            is_probed=state is BreakerState.HALF_OPEN and breaker.is_probed(now),
            asked_to_wait=wait > closed_for,
        )

    async def admit(self) -> Permit | None:
        self.breaker, permit = self.breaker.admitted(self.now, new_id())
        return permit

    async def record(self, permit: Permit, outcome: Outcome, wait: timedelta | None) -> None:
        self.breaker = self.breaker.recorded(self.now, permit, outcome)
        if wait is not None:
            self.breaker = self.breaker.waiting(self.now, wait.total_seconds())
