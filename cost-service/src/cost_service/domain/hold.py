"""A hold: the worst case of one admission of one job, reserved until it is settled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from cost_service.domain.budget_scope import BudgetScope, ordered_scopes
from cost_service.domain.names import MAX_NANOUSD, kept_text, require_hold_id
from cost_service.domain.period import PeriodKind
from service_kit.errors import InvalidArgument

MAX_SCOPES: Final = 16


class HoldState(StrEnum):
    """`held` changes to one of the others, once."""

    HELD = "held"
    POSTED = "posted"
    VOIDED = "voided"


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold as it is stored."""

    hold_id: str
    state: HoldState
    amount_nanousd: int
    price_version: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class HoldRequest:
    """What is asked for: an amount in every scope, or in none."""

    hold_id: str
    scopes: tuple[BudgetScope, ...]
    amount_nanousd: int
    price_version: str

    def __post_init__(self) -> None:
        require_hold_id(self.hold_id)
        if not 1 <= len(self.scopes) <= MAX_SCOPES:
            raise InvalidArgument("scopes", f"A hold names 1 to {MAX_SCOPES} scopes.")
        if not any(scope.kind.needs_budget for scope in self.scopes):
            raise InvalidArgument("scopes", "A hold names a project or a team.")
        if not 0 < self.amount_nanousd <= MAX_NANOUSD:
            raise InvalidArgument("amount_nanousd", "The amount must be more than 0.")
        if not self.price_version or kept_text(self.price_version) != self.price_version:
            raise InvalidArgument("price_version", "The price version is missing or too long.")
        object.__setattr__(self, "scopes", ordered_scopes(self.scopes))


@dataclass(frozen=True, slots=True)
class ScopeGrant:
    """What one budget of a scope said to a hold, with its figures before the hold."""

    scope: BudgetScope
    period_kind: PeriodKind
    period: str
    cap_nanousd: int
    reserved_nanousd: int
    posted_nanousd: int
    granted: bool
