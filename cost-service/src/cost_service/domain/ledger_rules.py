"""What must hold within cost-service's books alone, which are read at one moment."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

from cost_service.domain.books import BookedEntry, CostBooks, Finding
from cost_service.domain.hold import HoldState
from cost_service.domain.settlement import EntryKind


def ledger_drifts(cost: CostBooks) -> Iterator[Finding]:
    """Yield every drift within the books."""
    settlements = settlements_by_hold(cost.entries)
    yield from _reserved_matches_holds(cost)
    yield from _posted_matches_ledger(cost)
    yield from _cap_is_as_set(cost)
    yield from _one_period_per_charge(cost)
    yield from _allocated_matches_caps(cost)
    yield from _hold_settled_once(cost)
    yield from _hold_matches_entry(cost, settlements)
    yield from _post_within_hold(cost, settlements)
    yield from _refund_within_post(cost)
    yield from _correction_has_post(cost, settlements)
    yield from _hold_price_known(cost)


def ledger_notes(cost: CostBooks) -> Iterator[Finding]:
    """Yield what is in order, and odd enough for an operator to know."""
    for hold in cost.holds:
        if not hold.placed and hold.state is HoldState.POSTED:
            yield Finding("posted_without_hold", hold.hold_id, "charged, nothing was held")
    for entry in cost.entries:
        if entry.excess_nanousd:
            yield Finding(
                "cut_to_hold", entry.hold_id, f"{entry.excess_nanousd} beyond the hold not charged"
            )


def settlements_by_hold(entries: Iterable[BookedEntry]) -> dict[str, BookedEntry]:
    """Return the settlement of each hold; of several, the first."""
    found: defaultdict[str, list[BookedEntry]] = defaultdict(list)
    for entry in entries:
        if entry.kind.settles:
            found[entry.hold_id].append(entry)
    return {hold_id: min(some, key=lambda one: one.entry_id) for hold_id, some in found.items()}


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
    for budget_id in posted.keys() - {budget.budget_id for budget in cost.budgets}:
        yield Finding("posted_matches_ledger", f"budget {budget_id}", "in the ledger, not there")


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
        some = [budgets[budget_id] for budget_id in entry.budget_ids if budget_id in budgets]
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


def _correction_has_post(
    cost: CostBooks, settlements: Mapping[str, BookedEntry]
) -> Iterator[Finding]:
    """A refund or surcharge comes after its charge, in the same budgets."""
    for entry in cost.entries:
        if entry.kind.settles:
            continue
        post = settlements.get(entry.hold_id)
        if post is None or post.kind is not EntryKind.POST or post.entry_id > entry.entry_id:
            yield Finding("correction_has_post", entry.hold_id, f"{entry.kind} without a post")
        elif sorted(post.budget_ids) != sorted(entry.budget_ids):
            yield Finding(
                "correction_has_post", entry.hold_id, f"{entry.kind} in other budgets than its post"
            )


def _hold_price_known(cost: CostBooks) -> Iterator[Finding]:
    versions = {one.price_version for one in cost.prices}
    for hold in cost.holds:
        if hold.placed and hold.price_version not in versions:
            yield Finding(
                "hold_price_known", hold.hold_id, f"no price version {hold.price_version!r}"
            )
