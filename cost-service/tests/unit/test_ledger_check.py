"""Every kind of drift, planted in books that are otherwise in order."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from cost_service.domain.books import (
    Agreed,
    BookedAllowance,
    BookedAttempt,
    BookedBudget,
    BookedEntry,
    BookedHold,
    BookedJob,
    BookedKey,
    BookedPrice,
    BookedReceipt,
    CostBooks,
    JobBooks,
    OutboxRow,
)
from cost_service.domain.hold import HoldState
from cost_service.domain.ledger_check import RULES, SETTLED_RULES, check
from cost_service.domain.period import PeriodKind
from cost_service.domain.prices import Price
from cost_service.domain.settlement import EntryKind

POST, VOID = EntryKind.POST, EntryKind.VOID
REFUND, SURCHARGE = EntryKind.REFUND, EntryKind.SURCHARGE


# 10 nano-USD a token in, 20 out.
PRICE = Price("local", "smol", 10_000_000, 20_000_000)
TERMS = Agreed(100, "1", (PRICE,))


def a_hold(hold_id, state=HoldState.HELD, placed=True, amount=100, budgets=(1,)):
    return BookedHold(hold_id, state, placed, amount, budgets, "1" if placed else "")


def a_job(job_id, state="running", admission=1, charge=None, tokens=(0, 0), attempt=1):
    """A job that ran, or runs, at `local`; its charge is that of its tokens."""
    return BookedJob(
        job_id,
        state in ("completed", "failed", "dead_letter", "cancelled"),
        admission,
        charge,
        state,
        attempt,
        TERMS,
        "local",
        "smol",
        *tokens,
    )


def orderly():
    """One job posted, one voided, one running, one whose settlement waits; a retried one."""
    cost = CostBooks(
        budgets=(BookedBudget(1, "project p1 2026-11", 300, 75),),
        holds=(
            a_hold("posted:1", HoldState.POSTED),
            a_hold("voided:1", HoldState.VOIDED),
            a_hold("running:1"),
            a_hold("waiting:1"),
            a_hold("retried:1", HoldState.VOIDED, False, 0, ()),
            a_hold("retried:2"),
        ),
        entries=(
            BookedEntry(1, "posted:1", POST, 80, 0, (1,)),
            BookedEntry(2, "voided:1", VOID, 0, 0, (1,)),
            BookedEntry(3, "posted:1", REFUND, 10, 0, (1,)),
            BookedEntry(4, "posted:1", SURCHARGE, 5, 0, (1,)),
            BookedEntry(5, "retried:1", VOID, 0, 0, ()),
        ),
        allowances=(BookedAllowance("u1", 1000, 1000),),
        prices=(BookedPrice("1", replace(PRICE, model="*")),),
    )
    jobs = JobBooks(
        jobs=(
            a_job("posted", "completed", charge=80, tokens=(2, 3)),
            a_job("voided", "failed"),
            a_job("running"),
            a_job("waiting", "cancelled", charge=60, tokens=(0, 3)),
            a_job("retried", "pending", admission=2),
        ),
        outbox=(
            OutboxRow("posted:1", POST, 80, True, 50),
            OutboxRow("voided:1", VOID, 0, True, 50),
            OutboxRow("waiting:1", POST, 60, False, 3),
            OutboxRow("retried:1", VOID, 0, True, 50),
        ),
        attempts=(
            BookedAttempt("posted", 1, 1, "completed"),
            BookedAttempt("voided", 1, 1, "failed"),
            BookedAttempt("running", 1, 1, None),
            BookedAttempt("waiting", 1, 1, "cancelled"),
            BookedAttempt("retried", 1, 1, "lost"),
        ),
        receipts=(
            BookedReceipt("posted:1", 80),
            BookedReceipt("voided:1", 0),
            BookedReceipt("waiting:1", 60),
            BookedReceipt("retried:1", 0),
        ),
        keys=(BookedKey("p1 /jobs k1", "posted"),),
    )
    return cost, jobs


def findings(cost, jobs, sent=None, **options):
    sent = [row for row in jobs.outbox if row.sent] if sent is None else sent
    return check(sent, cost, jobs, max_age_seconds=60, **options)


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
    hold = a_hold("gone:1", HoldState.POSTED, amount=10)
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
    return cost, replace(jobs, jobs=(*jobs.jobs, a_job("lost", "failed")))


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


def _refund_without_post(cost, jobs):
    refund = BookedEntry(9, "voided:1", REFUND, 0, 0, (1,))
    return replace(cost, entries=(*cost.entries, refund)), jobs


def _surcharge_before_post(cost, jobs):
    return replace(cost, entries=(replace(cost.entries[0], entry_id=7), *cost.entries[1:])), jobs


def _refund_in_another_budget(cost, jobs):
    entries = list(cost.entries)
    entries[2] = replace(entries[2], budget_ids=(2,))
    return replace(cost, entries=tuple(entries)), jobs


def _hold_of_no_version(cost, jobs):
    return replace(cost, holds=changed(cost.holds, "running:1", price_version="9")), jobs


def _charge_other_than_usage(cost, jobs):
    return cost, replace(jobs, jobs=changed(jobs.jobs, "posted", tokens_output=4))


def _charge_of_what_never_ran(cost, jobs):
    return cost, replace(jobs, jobs=changed(jobs.jobs, "waiting", target=None))


def _charge_without_terms(cost, jobs):
    return cost, replace(jobs, jobs=changed(jobs.jobs, "waiting", agreed=None))


def _receipt_of_another_charge(cost, jobs):
    return cost, replace(jobs, receipts=changed(jobs.receipts, "posted:1", charge_nanousd=79))


def _receipt_without_settlement(cost, jobs):
    return cost, replace(jobs, receipts=(*jobs.receipts, BookedReceipt("running:1", 0)))


def _open_attempt_of_a_final_job(cost, jobs):
    return cost, replace(jobs, attempts=changed(jobs.attempts, "voided", outcome=None))


def _open_attempt_of_before(cost, jobs):
    return cost, replace(jobs, jobs=changed(jobs.jobs, "running", attempt=2))


def _charge_without_attempt(cost, jobs):
    return cost, replace(jobs, attempts=jobs.attempts[:3] + jobs.attempts[4:])


def _charge_of_another_end(cost, jobs):
    return cost, replace(jobs, attempts=changed(jobs.attempts, "waiting", outcome="lost"))


def _completed_twice(cost, jobs):
    again = BookedAttempt("posted", 0, 1, "completed")
    return cost, replace(jobs, attempts=(again, *jobs.attempts))


def _completed_and_not_over(cost, jobs):
    return cost, replace(jobs, attempts=changed(jobs.attempts, "running", outcome="completed"))


def _key_without_job(cost, jobs):
    return cost, replace(jobs, keys=(BookedKey("p1 /jobs k1", "nobody"),))


def _terms_of_another_version(cost, jobs):
    terms = replace(TERMS, price_version="2")
    return cost, replace(jobs, jobs=changed(jobs.jobs, "running", agreed=terms))


def _terms_beyond_the_hold(cost, jobs):
    terms = replace(TERMS, hold_nanousd=101)
    return cost, replace(jobs, jobs=changed(jobs.jobs, "running", agreed=terms))


def _terms_of_another_price(cost, jobs):
    terms = replace(TERMS, prices=(PRICE, replace(PRICE, input_nanousd_per_million=9)))
    return cost, replace(jobs, jobs=changed(jobs.jobs, "running", agreed=terms))


def _terms_of_an_unknown_target(cost, jobs):
    terms = replace(TERMS, prices=(PRICE, replace(PRICE, target="moon")))
    return cost, replace(jobs, jobs=changed(jobs.jobs, "running", agreed=terms))


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
    (_refund_without_post, "correction_has_post"),
    (_surcharge_before_post, "correction_has_post"),
    (_refund_in_another_budget, "correction_has_post"),
    (_hold_of_no_version, "hold_price_known"),
    (_charge_other_than_usage, "charge_matches_usage"),
    (_charge_of_what_never_ran, "charge_matches_usage"),
    (_charge_without_terms, "charge_matches_usage"),
    (_receipt_of_another_charge, "receipt_matches_outbox"),
    (_receipt_without_settlement, "receipt_matches_outbox"),
    (_open_attempt_of_a_final_job, "attempt_closed"),
    (_open_attempt_of_before, "attempt_closed"),
    (_charge_without_attempt, "charged_attempt_exists"),
    (_charge_of_another_end, "charged_attempt_exists"),
    (_completed_twice, "completed_once"),
    (_completed_and_not_over, "completed_once"),
    (_key_without_job, "key_has_job"),
    (_terms_of_another_version, "terms_match_hold"),
    (_terms_beyond_the_hold, "terms_match_hold"),
    (_terms_of_another_price, "terms_match_hold"),
    (_terms_of_an_unknown_target, "terms_match_hold"),
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
        BookedBudget(2, "project p1 2026-11-02", 0, 75, "project p1", PeriodKind.DAILY, 90, 90),
        BookedBudget(3, "project p1 total", 0, 75, "project p1", PeriodKind.TOTAL, 90, 90),
        BookedBudget(4, "team t1 2026-11", 0, 75, "team t1"),
    )
    everywhere = tuple(
        replace(entry, budget_ids=(1, 2, 3, 4)) if entry.hold_id == "posted:1" else entry
        for entry in cost.entries
    )
    cost = replace(cost, budgets=(*cost.budgets, *more), entries=everywhere)

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
    jobs = replace(
        jobs, jobs=(*jobs.jobs, replace(a_job("new", "admitting", attempt=0), agreed=None))
    )

    assert findings(cost, jobs).drifts == ()


def test_odd_but_orderly_books_are_noted():
    """A charge without a hold, and one that was cut to its hold, are notes for the operator."""
    cost, jobs = orderly()
    cost = replace(
        cost,
        holds=(*cost.holds, a_hold("orphan:1", HoldState.POSTED, False, 7, ())),
        entries=(
            *cost.entries,
            BookedEntry(9, "orphan:1", POST, 7, 2, ()),
        ),
    )
    jobs = replace(jobs, outbox=(*jobs.outbox, OutboxRow("orphan:1", POST, 9, True, 5)))

    found = findings(cost, jobs)

    assert found.drifts == ()
    assert {note.rule for note in found.notes} == {"posted_without_hold", "cut_to_hold"}


@pytest.mark.parametrize(
    ("target", "model", "tokens", "charge"),
    [
        ("local", "smol", (1, 0), 10),
        ("local", "smol", (10, 1), 100),
        ("local", "tiny", (1, 1), 1),
        ("local", "other", (1, 0), 10),
        ("moon", "other", (1, 0), 50),
    ],
    ids=["exact", "capped", "rounded_up", "dearest_of_the_target", "dearest_of_all"],
)
def test_charges_follow_the_agreed_prices(target, model, tokens, charge):
    """The rule computes as job-service does: the agreed price, rounded up once, up to the hold."""
    tiny = Price("local", "tiny", 1, 1)
    terms = replace(TERMS, prices=(PRICE, tiny, Price("yotta", "big", 50_000_000, 90_000_000)))
    job = replace(a_job("j", "completed", charge=charge, tokens=tokens), target=target, model=model)

    def found(job):
        rows = JobBooks(jobs=(replace(job, agreed=terms),))
        return "charge_matches_usage" in rules(findings(CostBooks(), rows))

    assert not found(job)
    assert found(replace(job, charge_nanousd=charge - 1))


def test_version_added_after_cost_was_read_is_no_drift():
    """A job agreed on a version of after the second reading: its hold is not in that reading."""
    cost, jobs = orderly()
    terms = Agreed(50, "2", (replace(PRICE, input_nanousd_per_million=7),))
    new = replace(a_job("new", "running"), agreed=terms)
    attempts = (*jobs.attempts, BookedAttempt("new", 1, 1, None))

    jobs = replace(jobs, jobs=(*jobs.jobs, new), attempts=attempts)

    assert findings(cost, jobs).drifts == ()


def test_correction_between_the_readings_is_no_drift():
    """A refund is in cost-service's books alone: no rule looks for it in job-service."""
    cost, jobs = orderly()
    cost = replace(
        cost,
        budgets=(replace(cost.budgets[0], posted_nanousd=70),),
        entries=(*cost.entries, BookedEntry(9, "posted:1", REFUND, 5, 0, (1,))),
    )

    assert findings(cost, jobs).drifts == ()


def test_open_work_is_drift_only_where_all_must_be_settled():
    """`require_settled` names each open job, unsent settlement and open hold, and nothing else."""
    found = findings(*orderly(), require_settled=True)

    assert {(one.rule, one.subject) for one in found.drifts} == {
        ("job_is_final", "running"),
        ("job_is_final", "retried"),
        ("outbox_is_empty", "waiting:1"),
        ("hold_is_settled", "running:1"),
        ("hold_is_settled", "waiting:1"),
        ("hold_is_settled", "retried:2"),
    }
    assert rules(found) == set(SETTLED_RULES)


def test_ten_thousand_jobs_within_seconds():
    """The rules look at each row a fixed number of times."""
    names = [f"j{number}" for number in range(10_000)]
    cost = CostBooks(
        budgets=(BookedBudget(1, "project p1 2026-11", 0, 800_000),),
        holds=tuple(a_hold(f"{name}:1", HoldState.POSTED) for name in names),
        entries=tuple(
            BookedEntry(at, f"{name}:1", POST, 80, 0, (1,)) for at, name in enumerate(names)
        ),
        prices=orderly()[0].prices,
    )
    jobs = JobBooks(
        jobs=tuple(a_job(name, "completed", charge=80, tokens=(2, 3)) for name in names),
        outbox=tuple(OutboxRow(f"{name}:1", POST, 80, True, 1) for name in names),
        attempts=tuple(BookedAttempt(name, 1, 1, "completed") for name in names),
        receipts=tuple(BookedReceipt(f"{name}:1", 80) for name in names),
        keys=tuple(BookedKey(name, name) for name in names),
    )
    begun = time.process_time()

    assert findings(cost, jobs, require_settled=True).drifts == ()
    assert time.process_time() - begun < 5
