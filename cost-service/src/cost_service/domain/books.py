"""What the ledger checker reads: the rows of both services that rules compare, and no more."""

from __future__ import annotations

from dataclasses import dataclass

from cost_service.domain.hold import HoldState
from cost_service.domain.period import PeriodKind
from cost_service.domain.prices import Price
from cost_service.domain.settlement import EntryKind


@dataclass(frozen=True, slots=True)
class BookedBudget:
    """A scope's row of one period; `name` says which.

    `cap_as_set_nanousd` is the cap that is set for it; `None` where none is, or it is over.
    """

    budget_id: int
    name: str
    reserved_nanousd: int
    posted_nanousd: int
    scope: str = ""
    period_kind: PeriodKind = PeriodKind.MONTHLY
    cap_nanousd: int = 0
    cap_as_set_nanousd: int | None = None


@dataclass(frozen=True, slots=True)
class BookedHold:
    hold_id: str
    state: HoldState
    placed: bool
    amount_nanousd: int
    budget_ids: tuple[int, ...]
    price_version: str = ""


@dataclass(frozen=True, slots=True)
class BookedEntry:
    entry_id: int
    hold_id: str
    kind: EntryKind
    amount_nanousd: int
    excess_nanousd: int
    budget_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BookedAllowance:
    user_id: str
    allocated_nanousd: int
    caps_nanousd: int


@dataclass(frozen=True, slots=True)
class BookedPrice:
    price_version: str
    price: Price


@dataclass(frozen=True, slots=True)
class CostBooks:
    """cost-service's database at one moment."""

    budgets: tuple[BookedBudget, ...] = ()
    holds: tuple[BookedHold, ...] = ()
    entries: tuple[BookedEntry, ...] = ()
    allowances: tuple[BookedAllowance, ...] = ()
    prices: tuple[BookedPrice, ...] = ()


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A settlement as job-service means it. `age_seconds` is since it was written."""

    hold_id: str
    kind: EntryKind
    amount_nanousd: int
    sent: bool
    age_seconds: float


@dataclass(frozen=True, slots=True)
class Agreed:
    """Under which terms a job may be charged: at most the hold, at one of these prices."""

    hold_nanousd: int
    price_version: str
    prices: tuple[Price, ...]

    def price_of(self, target: str, model: str) -> Price | None:
        """Return the price for what ran; the dearest one where that was not foreseen.

        This is job-service's rule, written down a second time on purpose: it is what checks it.
        """
        exact = [one for one in self.prices if one.key == (target, model)]
        same_target = [one for one in self.prices if one.target == target]
        candidates = exact[:1] or same_target or self.prices
        return max(candidates, key=lambda one: one.cost(10**6, 10**6), default=None)


@dataclass(frozen=True, slots=True)
class BookedJob:
    """A job; `charge_nanousd` is `None` where nothing was charged, `agreed` before its terms."""

    job_id: str
    is_final: bool
    admission: int
    charge_nanousd: int | None
    state: str = ""
    attempt: int = 0
    agreed: Agreed | None = None
    target: str | None = None
    model: str | None = None
    tokens_input: int = 0
    tokens_output: int = 0

    @property
    def hold_id(self) -> str:
        return f"{self.job_id}:{self.admission}"


@dataclass(frozen=True, slots=True)
class BookedAttempt:
    """An execution; `outcome` is `None` until it has ended."""

    job_id: str
    attempt: int
    admission: int
    outcome: str | None


@dataclass(frozen=True, slots=True)
class BookedReceipt:
    """What was signed as the charge of an admission; `None` where the statement has none."""

    hold_id: str
    charge_nanousd: int | None


@dataclass(frozen=True, slots=True)
class BookedKey:
    """An idempotency key, named for people, and the job that it made."""

    name: str
    job_id: str


@dataclass(frozen=True, slots=True)
class JobBooks:
    """job-service's database at one moment."""

    jobs: tuple[BookedJob, ...] = ()
    outbox: tuple[OutboxRow, ...] = ()
    attempts: tuple[BookedAttempt, ...] = ()
    receipts: tuple[BookedReceipt, ...] = ()
    keys: tuple[BookedKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was noticed, by the rule that noticed it."""

    rule: str
    subject: str
    detail: str
