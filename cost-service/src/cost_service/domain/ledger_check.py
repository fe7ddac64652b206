"""Whether jobs, holds, outbox, ledger and budgets tell the same story. Rules only, no reading.

The two databases can't be read at one moment, so job-service's is read twice, around
cost-service's: first the settlements it has sent, then cost-service's books, then all of its own
books. What happens in between can't look like drift:

- A settlement that was sent at the first reading is booked at the second.
- An entry booked at the second reading was in the outbox before, so it is there at the third.
- A hold that is open at the second reading has a job that was written before it, so at the third
  that job is either live or has its settlement in the outbox.

Rules that compare the two services therefore name the readings they compare.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from cost_service.domain.hold import HoldState
from cost_service.domain.names import job_id_of
from cost_service.domain.period import PeriodKind
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
class CostBooks:
    """cost-service's database at one moment."""

    budgets: tuple[BookedBudget, ...] = ()
    holds: tuple[BookedHold, ...] = ()
    entries: tuple[BookedEntry, ...] = ()
    allowances: tuple[BookedAllowance, ...] = ()


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A settlement as job-service means it. `age_seconds` is since it was written."""

    hold_id: str
    kind: EntryKind
    amount_nanousd: int
    sent: bool
    age_seconds: float


@dataclass(frozen=True, slots=True)
class BookedJob:
    """A job; `charge_nanousd` is `None` where nothing was charged."""

    job_id: str
    is_final: bool
    admission: int
    charge_nanousd: int | None

    @property
    def hold_id(self) -> str:
        return f"{self.job_id}:{self.admission}"


@dataclass(frozen=True, slots=True)
class JobBooks:
    """job-service's database at one moment."""

    jobs: tuple[BookedJob, ...] = ()
    outbox: tuple[OutboxRow, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was noticed, by the rule that noticed it."""

    rule: str
    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class Findings:
    """What is wrong, what is only on its way, and what an operator should know."""

    drifts: tuple[Finding, ...]
    in_flight: tuple[Finding, ...]
    notes: tuple[Finding, ...]


RULES: Final = (
    "reserved_matches_holds",
    "posted_matches_ledger",
    "cap_is_as_set",
    "one_period_per_charge",
    "allocated_matches_caps",
    "hold_settled_once",
    "hold_matches_entry",
    "post_within_hold",
    "refund_within_post",
    "final_job_settled",
    "charge_matches_outbox",
    "charge_matches_ledger",
    "sent_is_booked",
    "booked_was_sent",
    "open_hold_has_job",
    "outbox_moves",
)


def check(
    sent_before: Iterable[OutboxRow], cost: CostBooks, jobs: JobBooks, *, max_age_seconds: float
) -> Findings:
    """Compare everything.

    Args:
        sent_before: What the outbox had sent at the first reading.
        cost: cost-service's books at the second reading.
        jobs: job-service's books at the third reading.
        max_age_seconds: An unsent settlement older than this is drift, else in flight.
    """
    settlements = _by_hold(cost.entries)
    drifts = [
        *_reserved_matches_holds(cost),
        *_posted_matches_ledger(cost),
        *_cap_is_as_set(cost),
        *_one_period_per_charge(cost),
        *_allocated_matches_caps(cost),
        *_hold_settled_once(cost),
        *_hold_matches_entry(cost, settlements),
        *_post_within_hold(cost, settlements),
        *_refund_within_post(cost),
        *_final_job_settled(jobs),
        *_charge_matches_outbox(jobs),
        *_charge_matches_ledger(jobs, settlements),
        *_sent_is_booked(sent_before, settlements),
        *_booked_was_sent(cost, jobs),
        *_open_hold_has_job(cost, jobs),
        *_outbox_moves(jobs, max_age_seconds),
    ]
    return Findings(tuple(drifts), tuple(_in_flight(jobs, max_age_seconds)), tuple(_notes(cost)))


def _reserved_matches_holds(cost: CostBooks) -> Iterator[Finding]:
    held: Counter[int] = Counter()
    for hold in cost.holds:
        if hold.state is HoldState.HELD:
            held.update(dict.fromkeys(hold.budget_ids, hold.amount_nanousd))
    for budget in cost.budgets:
        if budget.reserved_nanousd != held[budget.budget_id]:
            yield Finding(
                "reserved_matches_holds",
                budget.name,
                f"reserved {budget.reserved_nanousd}, open holds {held[budget.budget_id]}",
            )


def _posted_matches_ledger(cost: CostBooks) -> Iterator[Finding]:
    posted: Counter[int] = Counter()
    for entry in cost.entries:
        for budget_id in entry.budget_ids:
            posted[budget_id] += entry.kind.sign * entry.amount_nanousd
    for budget in cost.budgets:
        if budget.posted_nanousd != posted[budget.budget_id]:
            yield Finding(
                "posted_matches_ledger",
                budget.name,
                f"posted {budget.posted_nanousd}, ledger {posted[budget.budget_id]}",
            )


def _cap_is_as_set(cost: CostBooks) -> Iterator[Finding]:
    for budget in cost.budgets:
        if budget.cap_as_set_nanousd not in (None, budget.cap_nanousd):
            yield Finding(
                "cap_is_as_set",
                budget.name,
                f"cap {budget.cap_nanousd}, set {budget.cap_as_set_nanousd}",
            )


def _one_period_per_charge(cost: CostBooks) -> Iterator[Finding]:
    """Of each kind of period a charge belongs to one, in each scope."""
    budgets = {budget.budget_id: budget for budget in cost.budgets}
    for entry in cost.entries:
        some = [budgets[budget_id] for budget_id in entry.budget_ids]
        if len({(budget.scope, budget.period_kind) for budget in some}) < len(some):
            names = ", ".join(sorted(budget.name for budget in some))
            yield Finding("one_period_per_charge", entry.hold_id, f"booked on {names}")


def _allocated_matches_caps(cost: CostBooks) -> Iterator[Finding]:
    for allowance in cost.allowances:
        if allowance.allocated_nanousd != allowance.caps_nanousd:
            yield Finding(
                "allocated_matches_caps",
                f"user {allowance.user_id}",
                f"allocated {allowance.allocated_nanousd}, caps {allowance.caps_nanousd}",
            )


def _hold_settled_once(cost: CostBooks) -> Iterator[Finding]:
    times = Counter(entry.hold_id for entry in cost.entries if entry.kind.settles)
    for hold_id, count in times.items():
        if count > 1:
            yield Finding("hold_settled_once", hold_id, f"{count} posts and voids")


def _hold_matches_entry(
    cost: CostBooks, settlements: Mapping[str, BookedEntry]
) -> Iterator[Finding]:
    wanted = {
        HoldState.HELD: None,
        HoldState.POSTED: EntryKind.POST,
        HoldState.VOIDED: EntryKind.VOID,
    }
    for hold in cost.holds:
        entry = settlements.get(hold.hold_id)
        kind = entry.kind if entry else None
        if kind is not wanted[hold.state]:
            found = f"entry {kind}" if kind else "no entry"
            yield Finding("hold_matches_entry", hold.hold_id, f"hold {hold.state}, {found}")
    known = {hold.hold_id for hold in cost.holds}
    for hold_id, entry in settlements.items():
        if hold_id not in known:
            yield Finding("hold_matches_entry", hold_id, f"no hold, entry {entry.kind}")


def _post_within_hold(cost: CostBooks, settlements: Mapping[str, BookedEntry]) -> Iterator[Finding]:
    for hold in cost.holds:
        entry = settlements.get(hold.hold_id)
        if hold.placed and entry and entry.amount_nanousd > hold.amount_nanousd:
            yield Finding(
                "post_within_hold",
                hold.hold_id,
                f"posted {entry.amount_nanousd}, held {hold.amount_nanousd}",
            )


def _refund_within_post(cost: CostBooks) -> Iterator[Finding]:
    sums: Counter[str] = Counter()
    for entry in cost.entries:
        sums[entry.hold_id] += entry.kind.sign * entry.amount_nanousd
    for hold_id, total in sums.items():
        if total < 0:
            yield Finding("refund_within_post", hold_id, f"charges and refunds sum to {total}")


def _final_job_settled(jobs: JobBooks) -> Iterator[Finding]:
    """Each admission that is over has its row in the outbox, from the transaction that ended it."""
    settled = {row.hold_id for row in jobs.outbox}
    for job in jobs.jobs:
        over = job.admission if job.is_final else job.admission - 1
        for admission in range(1, over + 1):
            if f"{job.job_id}:{admission}" not in settled:
                yield Finding("final_job_settled", job.job_id, f"no settlement of {admission}")


def _charge_matches_outbox(jobs: JobBooks) -> Iterator[Finding]:
    outbox = {row.hold_id: row for row in jobs.outbox}
    for job in jobs.jobs:
        row = outbox.get(job.hold_id)
        if job.is_final and row and _charge(row.kind, row.amount_nanousd) != job.charge_nanousd:
            yield Finding(
                "charge_matches_outbox",
                job.job_id,
                f"charge {job.charge_nanousd}, settlement {row.kind} {row.amount_nanousd}",
            )


def _charge_matches_ledger(
    jobs: JobBooks, settlements: Mapping[str, BookedEntry]
) -> Iterator[Finding]:
    for job in jobs.jobs:
        entry = settlements.get(job.hold_id)
        if (
            job.is_final
            and entry
            and _charge(entry.kind, entry.amount_nanousd) != job.charge_nanousd
        ):
            yield Finding(
                "charge_matches_ledger",
                job.job_id,
                f"charge {job.charge_nanousd}, ledger {entry.kind} {entry.amount_nanousd}",
            )


def _sent_is_booked(
    sent_before: Iterable[OutboxRow], settlements: Mapping[str, BookedEntry]
) -> Iterator[Finding]:
    for row in sent_before:
        entry = settlements.get(row.hold_id)
        if entry is None or not _same(row, entry):
            found = f"{entry.kind} {entry.amount_nanousd}" if entry else "nothing"
            yield Finding(
                "sent_is_booked",
                row.hold_id,
                f"sent {row.kind} {row.amount_nanousd}, booked {found}",
            )


def _booked_was_sent(cost: CostBooks, jobs: JobBooks) -> Iterator[Finding]:
    outbox = {row.hold_id: row for row in jobs.outbox}
    for entry in cost.entries:
        row = outbox.get(entry.hold_id)
        if entry.kind.settles and (row is None or not _same(row, entry)):
            found = f"{row.kind} {row.amount_nanousd}" if row else "nothing"
            yield Finding(
                "booked_was_sent",
                entry.hold_id,
                f"booked {entry.kind} {entry.amount_nanousd}, outbox {found}",
            )


def _open_hold_has_job(cost: CostBooks, jobs: JobBooks) -> Iterator[Finding]:
    known = {job.job_id: job for job in jobs.jobs}
    settled = {row.hold_id for row in jobs.outbox}
    for hold in cost.holds:
        if hold.state is not HoldState.HELD or hold.hold_id in settled:
            continue
        job = known.get(job_id_of(hold.hold_id))
        if job is None or job.is_final or job.hold_id != hold.hold_id:
            yield Finding(
                "open_hold_has_job",
                hold.hold_id,
                "no such job" if job is None else "its job is over or has another hold",
            )


def _outbox_moves(jobs: JobBooks, max_age_seconds: float) -> Iterator[Finding]:
    for row in jobs.outbox:
        if not row.sent and row.age_seconds > max_age_seconds:
            yield Finding("outbox_moves", row.hold_id, f"not sent for {row.age_seconds:.0f} s")


def _in_flight(jobs: JobBooks, max_age_seconds: float) -> Iterator[Finding]:
    for row in jobs.outbox:
        if not row.sent and row.age_seconds <= max_age_seconds:
            yield Finding(
                "in_flight",
                row.hold_id,
                f"{row.kind} {row.amount_nanousd}, for {row.age_seconds:.1f} s",
            )


def _notes(cost: CostBooks) -> Iterator[Finding]:
    for hold in cost.holds:
        if not hold.placed and hold.state is HoldState.POSTED:
            yield Finding("posted_without_hold", hold.hold_id, "charged, nothing was held")
    for entry in cost.entries:
        if entry.excess_nanousd:
            yield Finding(
                "cut_to_hold", entry.hold_id, f"{entry.excess_nanousd} beyond the hold not charged"
            )


def _by_hold(entries: Iterable[BookedEntry]) -> dict[str, BookedEntry]:
    """Return the settlement of each hold; of several, the first."""
    found: defaultdict[str, list[BookedEntry]] = defaultdict(list)
    for entry in entries:
        if entry.kind.settles:
            found[entry.hold_id].append(entry)
    return {hold_id: min(some, key=lambda one: one.entry_id) for hold_id, some in found.items()}


def _charge(kind: EntryKind, amount_nanousd: int) -> int | None:
    return amount_nanousd if kind is EntryKind.POST else None


def _same(row: OutboxRow, entry: BookedEntry) -> bool:
    asked = entry.amount_nanousd + entry.excess_nanousd
    return row.kind is entry.kind and row.amount_nanousd == asked
