"""An amount added to a cap, once."""

from __future__ import annotations

from dataclasses import dataclass

from cost_service.domain.budget import Budget
from cost_service.domain.budget_scope import BudgetScope
from cost_service.domain.errors import IdempotencyKeyReused
from cost_service.domain.names import MAX_NANOUSD, require_request_id
from cost_service.domain.period import PeriodKind
from cost_service.domain.prices import usd_text
from service_kit.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class TopUp:
    """What is asked for. Within its scope the `request_id` names it."""

    scope: BudgetScope
    period_kind: PeriodKind
    amount_nanousd: int
    request_id: str

    def __post_init__(self) -> None:
        if not 0 < self.amount_nanousd <= MAX_NANOUSD:
            raise InvalidArgument("amount", "The amount must be more than 0.")
        require_request_id(self.request_id)

    def added_to(self, cap_nanousd: int) -> int:
        """Return the cap afterwards."""
        if cap_nanousd > MAX_NANOUSD - self.amount_nanousd:
            raise InvalidArgument(
                "amount",
                f"The budget would be more than {usd_text(MAX_NANOUSD)} US dollars, the most there "
                "can be.",
            )
        return cap_nanousd + self.amount_nanousd


@dataclass(frozen=True, slots=True)
class DoneTopUp:
    """A top-up that happened, and the budget right after it."""

    top_up: TopUp
    budget: Budget

    def answer_to(self, asked: TopUp) -> Budget:
        """Return the first answer to the same request.

        Raises:
            IdempotencyKeyReused: It was another amount or period.
        """
        before = self.top_up
        if (before.amount_nanousd, before.period_kind) != (asked.amount_nanousd, asked.period_kind):
            raise IdempotencyKeyReused
        return self.budget
