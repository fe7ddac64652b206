"""The end of a hold: what is charged, and what became of the job."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from cost_service.domain.budget_alert import BudgetAlert
from cost_service.domain.budget_scope import BudgetScope, BudgetScopeKind, ordered_scopes
from cost_service.domain.hold import MAX_SCOPES, HoldState
from cost_service.domain.names import (
    MAX_NANOUSD,
    is_period,
    job_id_of,
    kept_text,
    require_hold_id,
)
from service_kit.errors import InvalidArgument


class EntryKind(StrEnum):
    """What a ledger entry books. Amounts are never negative; the kind gives the sign."""

    POST = "post"
    VOID = "void"
    REFUND = "refund"
    SURCHARGE = "surcharge"

    @property
    def settles(self) -> bool:
        """Tell whether such an entry ends a hold; a hold has one of these at most."""
        return self in (EntryKind.POST, EntryKind.VOID)

    @property
    def sign(self) -> int:
        """What the entry does to the posted sum: 1 adds, -1 takes off, 0 neither."""
        return {EntryKind.POST: 1, EntryKind.SURCHARGE: 1, EntryKind.REFUND: -1}.get(self, 0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job, for reports. Its texts are cut to what is stored."""

    job_id: str
    project_id: str
    job_state: str
    target: str = ""
    model: str = ""
    tokens_input: int = 0
    tokens_output: int = 0
    usage_source: str = ""
    provider_cost_nanousd: int = 0
    price_version: str = ""
    period: str = ""
    finished_at: datetime | None = None
    job_type: str = ""
    complexity: int | None = None
    complexity_threshold: int | None = None

    def cleaned(self, hold_id: str) -> Outcome:
        """Return it with nothing in it that could keep a settlement from being stored."""
        return replace(
            self,
            job_id=kept_text(self.job_id) or job_id_of(hold_id),
            project_id=kept_text(self.project_id),
            job_state=kept_text(self.job_state),
            target=kept_text(self.target),
            model=kept_text(self.model),
            tokens_input=max(0, self.tokens_input),
            tokens_output=max(0, self.tokens_output),
            usage_source=kept_text(self.usage_source),
            provider_cost_nanousd=max(0, self.provider_cost_nanousd),
            price_version=kept_text(self.price_version),
            period=self.period if is_period(self.period) else "",
            job_type=kept_text(self.job_type),
        )


@dataclass(frozen=True, slots=True)
class Settlement:
    """A post or void of a hold, as job-service asks for it."""

    hold_id: str
    kind: EntryKind
    amount_nanousd: int
    scopes: tuple[BudgetScope, ...]
    outcome: Outcome

    def __post_init__(self) -> None:
        require_hold_id(self.hold_id)
        if not self.kind.settles:
            raise InvalidArgument("kind", "Only a post or a void settles a hold.")
        if not 0 <= self.amount_nanousd <= MAX_NANOUSD:
            raise InvalidArgument("amount_nanousd", "The amount must not be negative.")
        if self.kind is EntryKind.VOID and self.amount_nanousd:
            raise InvalidArgument("amount_nanousd", "A void charges nothing.")
        if len(self.scopes) > MAX_SCOPES:
            raise InvalidArgument("scopes", f"At most {MAX_SCOPES} scopes.")
        object.__setattr__(self, "scopes", ordered_scopes(self.scopes))
        object.__setattr__(self, "outcome", self.outcome.cleaned(self.hold_id))

    @property
    def hold_state(self) -> HoldState:
        """The state of the hold afterwards."""
        return HoldState.POSTED if self.kind is EntryKind.POST else HoldState.VOIDED

    def scope_id(self, kind: BudgetScopeKind) -> str:
        """Return the first scope of that kind, by id; "" where there is none."""
        return next((scope.scope_id for scope in self.scopes if scope.kind is kind), "")


@dataclass(frozen=True, slots=True)
class Booking:
    """What the ledger made of a settlement.

    `excess_nanousd` is what was asked beyond the hold and is ours to bear. `alerts` are of the
    levels that this charge crossed.
    """

    booked: bool
    charged_nanousd: int = 0
    excess_nanousd: int = 0
    had_hold: bool = True
    alerts: tuple[BudgetAlert, ...] = ()


ALREADY_SETTLED = Booking(booked=False)
