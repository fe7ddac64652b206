"""What the use cases need from the outside, in their own words."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from cost_service.domain.allowance import Allowance
from cost_service.domain.budget import Allocation, Budget
from cost_service.domain.budget_scope import BudgetScope
from cost_service.domain.correction import Charge, Correction, LedgerEntry
from cost_service.domain.costs import JobCost
from cost_service.domain.hold import Hold, HoldRequest, ScopeGrant
from cost_service.domain.prices import NewPriceVersion, PriceSnapshot, PriceVersion
from cost_service.domain.settlement import Booking, Settlement
from cost_service.usecases.report_ports import CostReports, LedgerExports, WorkComparisons


@dataclass(frozen=True, slots=True)
class Placement:
    """What one round trip made of a request for a hold, before the commit.

    The hold is placed if every scope granted it; else the transaction must be rolled back.
    """

    hold: Hold
    grants: tuple[ScopeGrant, ...]

    @property
    def refusal(self) -> ScopeGrant | None:
        """The first scope that has too little left."""
        return next((grant for grant in self.grants if not grant.granted), None)


class Holds(Protocol):
    async def place(self, request: HoldRequest) -> Placement | None:
        """Reserve the amount in every scope that has enough, all rows locked in scope order.

        Return `None`, and change nothing, if the hold exists already or a scope that needs a
        budget has none in this month.
        """
        ...

    async def find(self, hold_id: str) -> Hold | None: ...

    async def list_open(
        self, min_age_seconds: int, after: tuple[datetime, str] | None, limit: int
    ) -> Sequence[Hold]:
        """Return holds nobody settled, oldest first, from after (created_at, hold_id) on."""
        ...


class Ledger(Protocol):
    async def settle(self, settlement: Settlement) -> Booking | None:
        """Book the settlement of a hold, unless it was settled before; `None`: no such hold."""
        ...

    async def settle_unknown(self, settlement: Settlement) -> Booking | None:
        """Book a settlement whose hold never came, and keep the hold from ever being placed.

        Return `None`, and change nothing, if the hold has turned up meanwhile.
        """
        ...


class Allowances(Protocol):
    async def get_for_update(self, user_id: str, default_nanousd: int) -> Allowance:
        """Return a user's allowance, locked; made with the default at first use.

        What is overspent is as of after the lock: while it is held, no cap of the user's scopes
        changes, so a scope within its cap stays there and an overspent one can only come down.
        """
        ...

    async def save(self, allowance: Allowance) -> None: ...


class Allocations(Protocol):
    async def find(self, scope: BudgetScope) -> Allocation | None: ...

    async def find_for_update(self, scope: BudgetScope) -> Allocation | None: ...

    async def save(self, allocation: Allocation) -> None: ...


class Budgets(Protocol):
    async def find(self, scope: BudgetScope) -> Budget:
        """Return the scope's current month, by the database's clock."""
        ...

    async def open_month(self, allocation: Allocation) -> None:
        """Make the row of the current month, unless it is there."""
        ...

    async def set_cap(self, allocation: Allocation) -> Budget:
        """Give the current month the allocation's cap and return it."""
        ...


class Reports(Protocol):
    async def find_job_cost(self, project_id: str, job_id: str) -> JobCost | None: ...


class PriceBook(Protocol):
    async def current(self) -> PriceSnapshot:
        """Return the latest version that is valid by the database's clock."""
        ...

    async def now(self) -> datetime:
        """Return the database's time, by which versions become valid."""
        ...

    async def find(self, price_version: str) -> PriceVersion | None:
        """Return a version with its prices; "" is the one that is valid now."""
        ...

    async def find_by_request(self, request_id: str) -> PriceVersion | None:
        """Return the version that a request added, with its prices."""
        ...

    async def list_versions(self, before: datetime | None, limit: int) -> Sequence[PriceVersion]:
        """Return versions without prices, latest `valid_from` first, from before a moment on."""
        ...

    async def add(self, version: NewPriceVersion, request_id: str | None) -> PriceVersion | None:
        """Add a version; `None`, and nothing changed, where its name, moment or request is taken.

        Waits for whoever adds the same at this moment.
        """
        ...


class Corrections(Protocol):
    async def find_by_request(self, request_id: str) -> LedgerEntry | None: ...

    async def lock_charge(self, job_id: str, admission: int) -> Charge | None:
        """Return the charge of an admission (0: the latest charge of the job), its hold locked.

        What was refunded and surcharged is as of after the lock, so it stays true until the end
        of the transaction.
        """
        ...

    async def knows_job(self, job_id: str) -> bool:
        """Tell whether anything was ever held or settled for the job."""
        ...

    async def add(self, correction: Correction, hold_id: str) -> LedgerEntry | None:
        """Book it in the budgets that the charge changed; `None` if its request id is taken."""
        ...

    async def list_entries(
        self, project_id: str, job_id: str, after_entry_id: int, limit: int
    ) -> Sequence[LedgerEntry]: ...


class Audit(Protocol):
    async def add(
        self, action: str, *, actor: str, subject: str, details: Mapping[str, str | int]
    ) -> None: ...


class UnitOfWork(Protocol):
    """One database transaction. Leaving it without an error commits."""

    @property
    def holds(self) -> Holds: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def allowances(self) -> Allowances: ...
    @property
    def allocations(self) -> Allocations: ...
    @property
    def budgets(self) -> Budgets: ...
    @property
    def reports(self) -> Reports: ...
    @property
    def corrections(self) -> Corrections: ...
    @property
    def cost_reports(self) -> CostReports: ...
    @property
    def comparisons(self) -> WorkComparisons: ...
    @property
    def exports(self) -> LedgerExports: ...
    @property
    def prices(self) -> PriceBook: ...
    @property
    def audit(self) -> Audit: ...

    async def see_one_moment(self) -> None:
        """Let everything be read as of now, and nothing be written. To be called first."""
        ...


class UnitOfWorkFactory(Protocol):
    def __call__(self) -> AbstractAsyncContextManager[UnitOfWork]: ...


class HoldOutcome(StrEnum):
    """What became of a request for a hold."""

    PLACED = "placed"
    REPEATED = "repeated"
    BUDGET_EXCEEDED = "budget_exceeded"
    NO_BUDGET = "no_budget"
    SETTLED = "settled"


class CostMeter(Protocol):
    """Counts, for the operator."""

    def hold_answered(self, outcome: HoldOutcome) -> None: ...

    def settlement_booked(self, settlement: Settlement, booking: Booking) -> None: ...

    def settlement_repeated(self) -> None: ...

    def correction_booked(self, entry: LedgerEntry) -> None: ...
