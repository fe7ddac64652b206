"""Decide where a prompt would go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from compute_router.domain.complexity import ComplexityScale
from compute_router.domain.decision import RouteDecision
from compute_router.domain.prices import PriceBook
from compute_router.domain.query import RouteQuery
from compute_router.domain.routing import decide
from compute_router.domain.target import TargetState
from compute_router.usecases.ports import Target


@dataclass(frozen=True, slots=True)
class DecideRoute:
    """Asks every target what it offers, and the rules what to make of it."""

    targets: Sequence[Target]
    scale: ComplexityScale
    prices: Callable[[], PriceBook | None]

    def __call__(self, query: RouteQuery) -> RouteDecision:
        """Return the decision; nothing runs.

        Raises:
            NoCapacity: Nothing is there to run anything, for the moment.
            ModelNotServed: Targets are there, and none serves the model.
            TargetUnavailable: Those that serve it are away, or ruled out by the request.
        """
        return decide(query, self.target_states(), self.scale, self.prices())

    def target_states(self) -> list[TargetState]:
        """Return every configured target and what it offers now."""
        return [target.state() for target in self.targets]
