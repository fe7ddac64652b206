"""What a scope may spend in one calendar month, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cost_service.domain.budget_scope import BudgetScope

_WARNING_PERCENT: Final = 80
_CRITICAL_PERCENT: Final = 95
_EXCEEDED_PERCENT: Final = 100


class BudgetStatus(StrEnum):
    """How much of the cap is spent."""

    NO_BUDGET_SET = "no_budget_set"
    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"
    EXCEEDED = "exceeded"


@dataclass(frozen=True, slots=True)
class Allocation:
    """What a scope gets for each calendar month, out of its owner's allowance."""

    scope: BudgetScope
    cap_nanousd: int


@dataclass(frozen=True, slots=True)
class Budget:
    """A scope's month. Without an allocation `has_budget` is false and the figures are 0."""

    scope: BudgetScope
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
        spent = self.posted_nanousd * 100
        for percent, status in (
            (_EXCEEDED_PERCENT, BudgetStatus.EXCEEDED),
            (_CRITICAL_PERCENT, BudgetStatus.CRITICAL),
            (_WARNING_PERCENT, BudgetStatus.WARNING),
        ):
            if spent >= self.cap_nanousd * percent:
                return status
        return BudgetStatus.OK
