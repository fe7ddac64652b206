"""A scope's spending came to a level of a cap."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cost_service.domain.budget import BudgetStatus
from cost_service.domain.budget_scope import BudgetScope
from cost_service.domain.period import PeriodKind


@dataclass(frozen=True, slots=True)
class BudgetAlert:
    """Told once by the charge that crossed the level.

    It is told again only where a raised cap brought the budget below the level in between.
    `cap_nanousd` and `posted_nanousd` are those right after that charge.
    """

    alert_id: int
    scope: BudgetScope
    period_kind: PeriodKind
    period: str
    level: BudgetStatus
    cap_nanousd: int
    posted_nanousd: int
    created_at: datetime
