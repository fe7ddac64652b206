"""What the use cases need from the outside, in their own words."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from cost_service.domain.allowance import Allowance
from cost_service.domain.budget import Budget, BudgetStatus, Cap
from cost_service.domain.budget_alert import BudgetAlert
from cost_service.domain.budget_scope import BudgetScope
from cost_service.domain.correction import BookedCorrection, Charge, Correction, JobEntry
from cost_service.domain.costs import JobCost
from cost_service.domain.hold import Hold, HoldRequest, ScopeGrant
from cost_service.domain.period import PeriodKind
from cost_service.domain.prices import NewPriceVersion, PriceSnapshot, PriceVersion
from cost_service.domain.settlement import Booking, Settlement
from cost_service.domain.top_up import DoneTopUp
from cost_service.usecases.report_ports import CostReports, LedgerExports, WorkComparisons


@dataclass(frozen=True, slots=True)
class Placement:
    """What one round trip made of a request for a hold, before the commit.

    The hold is placed if every budget granted it; else the transaction must be rolled back.
    """

    hold: Hold
    grants: tuple[ScopeGrant, ...]

    @property
    def refusal(self) -> ScopeGrant | None:
        """The first budget that has too little left."""
        return next((grant for grant in self.grants if not grant.granted), None)


class Holds(Protocol):
    async def place(self, request: HoldRequest) -> Placement | None:
        """Reserve the amount in every budget that has enough, all rows locked in one order.

        Return `None`, and change nothing, if the hold exists already, or a row of this month or
        day is missing: of a cap that is set, or of a monthly budget that is needed.
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

    async def find(self, user_id: str, default_nanousd: int) -> Allowance:
        """Return a user's allowance as it is; the default, where none was made."""
        ...

    async def save(self, allowance: Allowance) -> None: ...


class Allocations(Protocol):
    """The monthly caps of projects, which come out of their owners' allowances."""

    async def find(self, scope: BudgetScope) -> Cap | None: ...

    async def find_for_update(self, scope: BudgetScope) -> Cap | None: ...

    async def find_for_share(self, scope: BudgetScope) -> Cap | None:
        """Return it so that nobody changes it while we open a period from it."""
        ...

    async def save(self, cap: Cap) -> None: ...


class Caps(Protocol):
    """All other caps, which only tighten."""

    async def find_for_update(self, scope: BudgetScope, period_kind: PeriodKind) -> Cap | None: ...

    async def list_for_share(self, scope: BudgetScope) -> Sequence[Cap]:
        """Return the scope's caps so that nobody changes them while we open periods from them."""
        ...

    async def save(self, cap: Cap) -> None: ...

    async def add(self, cap: Cap) -> Cap:
        """Set a cap where there is none; return the one that is there then."""
        ...

    async def remove(self, scope: BudgetScope, period_kind: PeriodKind) -> bool:
        """Take a cap away; return whether there was one."""
        ...


class Budgets(Protocol):
    async def list_current(
        self, scope: BudgetScope, default_cap_nanousd: int | None = None
    ) -> Sequence[Budget]:
        """Return the periods of today, by the database's clock: monthly, daily, total.

        Those without a cap are left out, but for the month, which then has the default, if any.
        """
        ...

    async def open_period(self, cap: Cap) -> None:
        """Make the row of the current period, unless it is there."""
        ...

    async def set_cap(self, cap: Cap) -> Budget:
        """Give the current period, and any that began meanwhile, the cap; return the former."""
        ...


class TopUps(Protocol):
    async def find(self, scope: BudgetScope, request_id: str) -> DoneTopUp | None: ...

    async def add(self, done: DoneTopUp) -> None: ...


class Alerts(Protocol):
    async def list_before(
        self, scope: BudgetScope, before: int, limit: int
    ) -> Sequence[BudgetAlert]:
        """Return a scope's alerts with an id below `before`, newest first."""
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

    async def find_before(self, moment: datetime) -> PriceVersion | None:
        """Return, with its prices, the version that is the latest until just before a moment."""
        ...

    async def add(self, version: NewPriceVersion, request_id: str | None) -> PriceVersion | None:
        """Add a version; `None`, and nothing changed, where its name, moment or request is taken.

        Waits for whoever adds the same at this moment.
        """
        ...


class Corrections(Protocol):
    async def find_by_request(self, request_id: str) -> JobEntry | None: ...

    async def lock_charge(self, job_id: str, admission: int) -> Charge | None:
        """Return the charge of an admission (0: the latest charge of the job), its hold locked.

        What was refunded and surcharged is as of after the lock, so it stays true until the end
        of the transaction.
        """
        ...

    async def knows_job(self, job_id: str) -> bool:
        """Tell whether anything was ever held or settled for the job."""
        ...

    async def add(self, correction: Correction, hold_id: str) -> BookedCorrection | None:
        """Book it in the budgets that the charge changed; `None` if its request id is taken."""
        ...

    async def list_entries(
        self, project_id: str, job_id: str, after_entry_id: int, limit: int
    ) -> Sequence[JobEntry]:
        """Return a job's entries in a project ("": in any), oldest first."""
        ...


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
    def caps(self) -> Caps: ...
    @property
    def budgets(self) -> Budgets: ...
    @property
    def top_ups(self) -> TopUps: ...
    @property
    def alerts(self) -> Alerts: ...
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

    def correction_booked(self, entry: JobEntry) -> None: ...

    def budget_alerted(self, level: BudgetStatus) -> None: ...
