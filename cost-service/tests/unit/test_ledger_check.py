"""Every kind of drift, planted in books that are otherwise in order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cost_service.domain.hold import HoldState
from cost_service.domain.ledger_check import (
    RULES,
    BookedAllowance,
    BookedBudget,
    BookedEntry,
    BookedHold,
    BookedJob,
    CostBooks,
    JobBooks,
    OutboxRow,
    check,
)
from cost_service.domain.period import PeriodKind
from cost_service.domain.settlement import EntryKind

POST, VOID = EntryKind.POST, EntryKind.VOID
REFUND, SURCHARGE = EntryKind.REFUND, EntryKind.SURCHARGE


def orderly():
    """One job posted, one voided, one running, one whose settlement waits; a retried one."""
    cost = CostBooks(
        budgets=(BookedBudget(1, "project p1 2026-11", 300, 75),),
        holds=(
            BookedHold("posted:1", HoldState.POSTED, True, 100, (1,)),
            BookedHold("voided:1", HoldState.VOIDED, True, 100, (1,)),
            BookedHold("running:1", HoldState.HELD, True, 100, (1,)),
            BookedHold("waiting:1", HoldState.HELD, True, 100, (1,)),
            BookedHold("retried:1", HoldState.VOIDED, False, 0, ()),
            BookedHold("retried:2", HoldState.HELD, True, 100, (1,)),
        ),
        entries=(
            BookedEntry(1, "posted:1", POST, 80, 0, (1,)),
            BookedEntry(2, "voided:1", VOID, 0, 0, (1,)),
            BookedEntry(3, "posted:1", REFUND, 10, 0, (1,)),
            BookedEntry(4, "posted:1", SURCHARGE, 5, 0, (1,)),
            BookedEntry(5, "retried:1", VOID, 0, 0, ()),
        ),
        allowances=(BookedAllowance("u1", 1000, 1000),),
    )
    jobs = JobBooks(
        jobs=(
            BookedJob("posted", True, 1, 80),
            BookedJob("voided", True, 1, None),
            BookedJob("running", False, 1, None),
            BookedJob("waiting", True, 1, 60),
            BookedJob("retried", False, 2, None),
        ),
        outbox=(
            OutboxRow("posted:1", POST, 80, True, 50),
            OutboxRow("voided:1", VOID, 0, True, 50),
            OutboxRow("waiting:1", POST, 60, False, 3),
            OutboxRow("retried:1", VOID, 0, True, 50),
        ),
    )
    return cost, jobs


def findings(cost, jobs, sent=None):
    sent = [row for row in jobs.outbox if row.sent] if sent is None else sent
    return check(sent, cost, jobs, max_age_seconds=60)


def rules(found):
    return {drift.rule for drift in found.drifts}


def changed(rows, key, **changes):
    """Return the rows with those changed whose hold_id or job_id is the key."""
    return tuple(
        replace(row, **changes)
        if key in (getattr(row, "hold_id", ""), getattr(row, "job_id", ""))
        else row
        for row in rows
    )


def without(rows, key):
    return tuple(row for row in rows if row.hold_id != key)


def test_orderly_books_show_nothing():
    """Books in order show no drift, and the waiting settlement as in flight with its age."""
    found = findings(*orderly())

    assert found.drifts == ()
    assert [(one.subject, one.detail) for one in found.in_flight] == [
        ("waiting:1", "post 60, for 3.0 s")
    ]


def _reserve(cost, jobs):
    return replace(cost, budgets=(replace(cost.budgets[0], reserved_nanousd=299),)), jobs


def _posted(cost, jobs):
    return replace(cost, budgets=(replace(cost.budgets[0], posted_nanousd=76),)), jobs


def _allocated(cost, jobs):
    return replace(cost, allowances=(BookedAllowance("u1", 1000, 1001),)), jobs


def _stale_cap(cost, jobs):
    stale = replace(cost.budgets[0], cap_nanousd=500, cap_as_set_nanousd=400)
    return replace(cost, budgets=(stale,)), jobs


def _charge_on_two_days(cost, jobs):
    days = [
        BookedBudget(number, f"project p1 2026-11-0{number}", 0, 80, "project p1", PeriodKind.DAILY)
        for number in (2, 3)
    ]
    posted = replace(cost.entries[0], budget_ids=(1, 2, 3))
    return (
        replace(cost, budgets=(*cost.budgets, *days), entries=(posted, *cost.entries[1:])),
        jobs,
    )


def _second_settlement(cost, jobs):
    again = BookedEntry(9, "posted:1", VOID, 0, 0, (1,))
    return replace(cost, entries=(*cost.entries, again)), jobs


def _posted_hold_without_entry(cost, jobs):
    hold = BookedHold("gone:1", HoldState.POSTED, True, 10, (1,))
    return replace(cost, holds=(*cost.holds, hold)), jobs


def _open_hold_with_entry(cost, jobs):
    return replace(cost, holds=changed(cost.holds, "voided:1", state=HoldState.HELD)), jobs


def _voided_hold_with_post(cost, jobs):
    return replace(cost, holds=changed(cost.holds, "posted:1", state=HoldState.VOIDED)), jobs


def _entry_without_hold(cost, jobs):
    return replace(cost, holds=without(cost.holds, "voided:1")), jobs


def _post_beyond_hold(cost, jobs):
    return replace(cost, holds=changed(cost.holds, "posted:1", amount_nanousd=79)), jobs


def _refund_beyond_post(cost, jobs):
    refund = BookedEntry(9, "posted:1", REFUND, 76, 0, (1,))
    return replace(cost, entries=(*cost.entries, refund)), jobs


def _final_job_unsettled(cost, jobs):
    return cost, replace(jobs, jobs=(*jobs.jobs, BookedJob("lost", True, 1, None)))


def _earlier_admission_unsettled(cost, jobs):
    return cost, replace(jobs, outbox=without(jobs.outbox, "retried:1"))


def _charge_other_than_outbox(cost, jobs):
    return cost, replace(jobs, outbox=changed(jobs.outbox, "waiting:1", amount_nanousd=61))


def _charge_other_than_ledger(cost, jobs):
    return cost, replace(jobs, jobs=changed(jobs.jobs, "posted", charge_nanousd=81))


def _sent_and_not_booked(cost, jobs):
    return cost, replace(jobs, outbox=changed(jobs.outbox, "waiting:1", sent=True))


def _sent_and_booked_otherwise(cost, jobs):
    row = changed(jobs.outbox, "posted:1", kind=VOID, amount_nanousd=0)
    return cost, replace(jobs, outbox=row)


def _booked_and_never_sent(cost, jobs):
    return cost, replace(jobs, outbox=without(jobs.outbox, "voided:1"))


def _hold_without_job(cost, jobs):
    return cost, replace(jobs, jobs=tuple(j for j in jobs.jobs if j.job_id != "running"))


def _hold_of_an_earlier_admission(cost, jobs):
    return cost, replace(jobs, jobs=changed(jobs.jobs, "running", admission=2))


def _stuck_settlement(cost, jobs):
    return cost, replace(jobs, outbox=changed(jobs.outbox, "waiting:1", age_seconds=61))


PLANTED = [
    (_reserve, "reserved_matches_holds"),
    (_posted, "posted_matches_ledger"),
    (_allocated, "allocated_matches_caps"),
    (_stale_cap, "cap_is_as_set"),
    (_charge_on_two_days, "one_period_per_charge"),
    (_second_settlement, "hold_settled_once"),
    (_posted_hold_without_entry, "hold_matches_entry"),
    (_open_hold_with_entry, "hold_matches_entry"),
    (_voided_hold_with_post, "hold_matches_entry"),
    (_entry_without_hold, "hold_matches_entry"),
    (_post_beyond_hold, "post_within_hold"),
    (_refund_beyond_post, "refund_within_post"),
    (_final_job_unsettled, "final_job_settled"),
    (_earlier_admission_unsettled, "final_job_settled"),
    (_charge_other_than_outbox, "charge_matches_outbox"),
    (_charge_other_than_ledger, "charge_matches_ledger"),
    (_sent_and_not_booked, "sent_is_booked"),
    (_sent_and_booked_otherwise, "sent_is_booked"),
    (_booked_and_never_sent, "booked_was_sent"),
    (_hold_without_job, "open_hold_has_job"),
    (_hold_of_an_earlier_admission, "open_hold_has_job"),
    (_stuck_settlement, "outbox_moves"),
]


@pytest.mark.parametrize(("plant", "rule"), PLANTED, ids=lambda one: getattr(one, "__name__", one))
def test_planted_drift_is_named(plant, rule):
    """Each drift is found by the rule that is there for it."""
    found = findings(*plant(*orderly()))

    assert rule in rules(found)
    assert all(drift.subject and drift.detail for drift in found.drifts)


def test_every_rule_is_planted():
    """No rule is without a drift that shows it, and every drift is named by a known rule."""
    assert {rule for _, rule in PLANTED} == set(RULES)


def test_settlement_sent_between_the_readings_is_no_drift():
    """Sent and booked after cost-service was read: unsent at the first reading, so not asked for.

    Its job is final and its hold was open when read, and both are as they should be.
    """
    cost, jobs = orderly()
    jobs = replace(jobs, outbox=changed(jobs.outbox, "waiting:1", sent=True))
    sent_before = [row for row in jobs.outbox if row.sent and row.hold_id != "waiting:1"]

    assert findings(cost, jobs, sent_before).drifts == ()


def test_a_charge_belongs_to_a_month_a_day_and_all_time():
    """One budget of each kind for each scope is how it is meant; each sums up for itself."""
    cost, jobs = orderly()
    more = (
        BookedBudget(2, "project p1 2026-11-02", 0, 80, "project p1", PeriodKind.DAILY, 90, 90),
        BookedBudget(3, "project p1 total", 0, 80, "project p1", PeriodKind.TOTAL, 90, 90),
        BookedBudget(4, "team t1 2026-11", 0, 80, "team t1"),
    )
    posted = replace(cost.entries[0], budget_ids=(1, 2, 3, 4))
    cost = replace(cost, budgets=(*cost.budgets, *more), entries=(posted, *cost.entries[1:]))

    assert findings(cost, jobs).drifts == ()


def test_booked_before_sent_is_marked_is_no_drift():
    """Booked, and job-service not yet told: the outbox row is there, unsent."""
    cost, jobs = orderly()
    cost = replace(
        cost,
        holds=changed(cost.holds, "waiting:1", state=HoldState.POSTED),
        entries=(*cost.entries, BookedEntry(9, "waiting:1", POST, 60, 0, (1,))),
        budgets=(BookedBudget(1, "project p1 2026-11", 200, 135),),
    )

    assert findings(cost, jobs).drifts == ()


def test_job_made_after_cost_was_read_is_no_drift():
    """A job that is only in the later reading has no hold yet, which is fine."""
    cost, jobs = orderly()
    jobs = replace(jobs, jobs=(*jobs.jobs, BookedJob("new", False, 1, None)))

    assert findings(cost, jobs).drifts == ()


def test_odd_but_orderly_books_are_noted():
    """A charge without a hold, and one that was cut to its hold, are notes for the operator."""
    cost, jobs = orderly()
    cost = replace(
        cost,
        holds=(*cost.holds, BookedHold("orphan:1", HoldState.POSTED, False, 7, ())),
        entries=(
            *cost.entries,
            BookedEntry(9, "orphan:1", POST, 7, 2, ()),
        ),
    )
    jobs = replace(jobs, outbox=(*jobs.outbox, OutboxRow("orphan:1", POST, 9, True, 5)))

    found = findings(cost, jobs)

    assert found.drifts == ()
    assert {note.rule for note in found.notes} == {"posted_without_hold", "cut_to_hold"}
