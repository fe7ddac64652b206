"""Projects and budgets, as far as the edge combines them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class BudgetStatus(StrEnum):
    """How much of a budget is reserved or spent."""

    NO_BUDGET_SET = "no_budget_set"
    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"
    EXCEEDED = "exceeded"


class BudgetPeriod(StrEnum):
    """How long a budget is for."""

    MONTHLY = "monthly"
    DAILY = "daily"
    TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Project:
    """Where work and its costs belong; `team_id` is the team whose budget it uses too."""

    project_id: str
    name: str
    owner_user_id: str
    is_default: bool
    created_at: datetime
    team_id: str | None = None


@dataclass(frozen=True, slots=True)
class BudgetOwner:
    """Whose budget is meant: one of the three has an id."""

    project_id: str = ""
    team_id: str = ""
    api_key_id: str = ""


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent in a month (`YYYY-MM`, UTC), day or altogether, and what was."""

    owner: BudgetOwner
    period: str
    has_budget: bool
    cap_nanousd: int
    reserved_nanousd: int
    posted_nanousd: int
    status: BudgetStatus
    period_kind: BudgetPeriod = BudgetPeriod.MONTHLY

    @property
    def remaining_nanousd(self) -> int:
        """What new work may still reserve; below 0 where the cap was lowered."""
        return self.cap_nanousd - self.reserved_nanousd - self.posted_nanousd

    @property
    def percentage_used(self) -> float:
        """The share of the cap that is reserved or spent, in percent, with two decimals."""
        used = self.reserved_nanousd + self.posted_nanousd
        if self.cap_nanousd == 0:
            return 100.0 if used else 0.0
        return round(100 * used / self.cap_nanousd, 2)
