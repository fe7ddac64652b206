"""Where a prompt goes, and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from compute_router.domain.complexity import Complexity


class Reason(StrEnum):
    """Why the chosen target was chosen: one code for programs and metrics."""

    COMPLEXITY_BELOW_THRESHOLD = "complexity_below_threshold"
    COMPLEXITY_AT_THRESHOLD = "complexity_at_threshold"
    YOTTA_NOT_CONFIGURED = "complexity_at_threshold_but_yotta_not_configured"
    ONLY_TARGET_FOR_MODEL = "only_target_for_model"
    ONLY_TARGET_FOR_OPERATION = "only_target_for_operation"
    RESIDENCY = "residency_local_only"
    SAME_VECTOR_SPACE = "same_vector_space"
    """An embedding with `auto`: whichever model it is, it stays the same."""
    PREFERRED_TARGET_UNAVAILABLE = "preferred_target_unavailable"
    PREFERRED_TARGET_OVER_BUDGET = "preferred_target_over_budget"


class Exclusion(StrEnum):
    """Why a target was not chosen."""

    NOT_CONFIGURED = "not_configured"
    MODEL_NOT_SERVED = "model_not_served"
    OPERATION_NOT_SERVED = "operation_not_served"
    RESIDENCY = "residency_local_only"
    UNAVAILABLE = "unavailable"
    OVER_BUDGET = "over_budget"
    LESS_SUITABLE = "less_suitable"


@dataclass(frozen=True, slots=True)
class Choice:
    """A target that can run the prompt, with the model it would use."""

    target: str
    model: str
    estimated_cost_nanousd: int


@dataclass(frozen=True, slots=True)
class Alternative:
    """A target that was not chosen; an eligible one may be fallen back to."""

    target: str
    model: str
    eligible: bool
    reason: Exclusion
    estimated_cost_nanousd: int = 0


@dataclass(frozen=True, slots=True)
class RouteDecision:
    target: str
    model: str
    reason: Reason
    complexity: Complexity
    explanation: tuple[str, ...]
    """What each rule said, in order, for people."""
    alternatives: tuple[Alternative, ...]
    """Best first."""
    estimated_cost_nanousd: int

    @property
    def choices(self) -> tuple[tuple[str, str], ...]:
        """(target, model) in the order in which they may be tried."""
        others = ((other.target, other.model) for other in self.alternatives if other.eligible)
        return ((self.target, self.model), *others)
