"""What a scope may spend in one period, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cost_service.domain.budget_scope import BudgetScope, BudgetScopeKind
from cost_service.domain.period import PeriodKind


class BudgetStatus(StrEnum):
    """How much of the cap is spent."""

    NO_BUDGET_SET = "no_budget_set"
    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"
    EXCEEDED = "exceeded"


LEVELS: Final = {
    BudgetStatus.WARNING: 80,
    BudgetStatus.CRITICAL: 95,
    BudgetStatus.EXCEEDED: 100,
}
"""The percentages of the cap at which a budget changes its status, and an alert is due."""


@dataclass(frozen=True, slots=True)
class Cap:
    """What a scope may spend in each period of a kind."""

    scope: BudgetScope
    period_kind: PeriodKind
    cap_nanousd: int

    @property
    def is_allocation(self) -> bool:
        """Tell whether it comes out of its owner's allowance; all others only tighten."""
        return is_allocation(self.scope, self.period_kind)


@dataclass(frozen=True, slots=True)
class BudgetDefaults:
    """What holds where nobody set anything.

    A default project gets its cap out of its owner's allowance, or what is left of that, and only
    at its first hold.
    """

    allowance_nanousd: int
    project_cap_nanousd: int
    team_cap_nanousd: int

    def cap_of(self, scope: BudgetScope, period_kind: PeriodKind) -> int | None:
        """Return the cap that a scope has without one being set: a team's month alone has one."""
        if scope.kind is BudgetScopeKind.TEAM and period_kind is PeriodKind.MONTHLY:
            return self.team_cap_nanousd
        return None


def is_allocation(scope: BudgetScope, period_kind: PeriodKind) -> bool:
    """Tell whether a cap for this would come out of its owner's allowance."""
    return scope.kind is BudgetScopeKind.PROJECT and period_kind is PeriodKind.MONTHLY


@dataclass(frozen=True, slots=True)
class Budget:
    """One period of a scope. Without a cap `has_budget` is false and the figures are 0."""

    scope: BudgetScope
    period_kind: PeriodKind
    period: str
    has_budget: bool
    cap_nanousd: int = 0
    reserved_nanousd: int = 0
    posted_nanousd: int = 0

    @property
    def status(self) -> BudgetStatus:
        """The share of the cap that was really spent: what is only held doesn't count.

        A cap of 0 counts as exceeded: nothing can be spent.
        """
        if not self.has_budget:
            return BudgetStatus.NO_BUDGET_SET
        reached = BudgetStatus.OK
        for status, percent in LEVELS.items():
            if self.posted_nanousd * 100 >= self.cap_nanousd * percent:
                reached = status
        return reached
