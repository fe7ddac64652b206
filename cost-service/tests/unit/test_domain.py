"""Budgets, allowances, holds and settlements as values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cost_service.domain.allowance import Allowance
from cost_service.domain.budget import Budget, BudgetStatus
from cost_service.domain.budget_scope import BudgetScope, BudgetScopeKind, ordered_scopes
from cost_service.domain.errors import AllowanceExceeded, IdempotencyKeyReused
from cost_service.domain.hold import HoldRequest
from cost_service.domain.period import PeriodKind
from cost_service.domain.prices import Price, lost_prices, names_of
from cost_service.domain.settlement import EntryKind, Outcome, Settlement
from cost_service.domain.top_up import DoneTopUp, TopUp
from service_kit.errors import InvalidArgument

MONTH = (PeriodKind.MONTHLY, "2026-11")
PROJECT = BudgetScope(BudgetScopeKind.PROJECT, "p1", "u1", True)
TEAM = BudgetScope(BudgetScopeKind.TEAM, "t1")
KEY = BudgetScope(BudgetScopeKind.API_KEY, "k1")


class TestBudgetStatus:
    @pytest.mark.parametrize(
        ("posted", "status"),
        [
            (0, BudgetStatus.OK),
            (799, BudgetStatus.OK),
            (800, BudgetStatus.WARNING),
            (949, BudgetStatus.WARNING),
            (950, BudgetStatus.CRITICAL),
            (999, BudgetStatus.CRITICAL),
            (1000, BudgetStatus.EXCEEDED),
            (1001, BudgetStatus.EXCEEDED),
        ],
    )
    def test_thresholds(self, posted, status):
        """80, 95 and 100 per cent of the cap, to the nano-dollar."""
        assert Budget(PROJECT, *MONTH, True, 1000, 0, posted).status is status

    def test_reserve_does_not_count(self):
        """What is only held is not spent."""
        assert Budget(PROJECT, *MONTH, True, 1000, 1000, 0).status is BudgetStatus.OK

    def test_nothing_allocated(self):
        """Without an allocation there is no status but that."""
        assert Budget(PROJECT, *MONTH, False).status is BudgetStatus.NO_BUDGET_SET

    def test_cap_of_nothing(self):
        """A cap of 0 is used up from the start."""
        assert Budget(PROJECT, *MONTH, True).status is BudgetStatus.EXCEEDED


class TestAllowance:
    def test_raising_a_cap_takes_the_difference(self):
        """Only what is added counts against the allowance."""
        assert Allowance("u1", 100, 60).reallocated(PROJECT, 60, 100).allocated_nanousd == 100

    def test_too_much_is_refused_with_figures(self):
        """More than the allowance is refused and told in figures."""
        with pytest.raises(AllowanceExceeded) as refused:
            Allowance("u1", 100, 60).reallocated(PROJECT, 10, 51)

        assert refused.value.metadata == {
            "amount_nanousd": "100",
            "allocated_nanousd": "60",
            "requested_nanousd": "41",
        }

    def test_lowering_is_always_possible(self):
        """An owner whose allowance was cut below what is allocated may still lower a cap."""
        assert Allowance("u1", 10, 60).reallocated(PROJECT, 60, 50).allocated_nanousd == 50

    def test_overspent_stays_claimed(self):
        """What a scope spent beyond its cap can't be allocated, to another or by default."""
        allowance = Allowance("u1", 100, 10, {PROJECT.key: 60})

        assert allowance.reallocated(TEAM, 0, 30).claimed_nanousd == 100
        assert allowance.default_cap(50) == 30
        with pytest.raises(AllowanceExceeded) as refused:
            allowance.reallocated(TEAM, 0, 31)
        assert refused.value.metadata["allocated_nanousd"] == "70"

    @pytest.mark.parametrize(("cap", "claimed"), [(11, 70), (70, 70), (71, 71), (100, 100)])
    def test_raising_an_overspent_cap_claims_nothing_twice(self, cap, claimed):
        """A cap takes the place of what was spent beyond the old one."""
        allowance = Allowance("u1", 100, 10, {PROJECT.key: 60}).reallocated(PROJECT, 10, cap)

        assert (allowance.allocated_nanousd, allowance.claimed_nanousd) == (cap, claimed)

    @pytest.mark.parametrize(("allocated", "cap"), [(0, 30), (80, 20), (100, 0), (140, 0)])
    def test_default_cap_is_at_most_what_is_left(self, allocated, cap):
        """A default cap shrinks with the allowance, down to nothing."""
        assert Allowance("u1", 100, allocated).default_cap(30) == cap


class TestRequests:
    def test_scopes_come_in_one_order(self):
        """However they are named, scopes are locked in the same order."""
        assert ordered_scopes([TEAM, PROJECT, KEY]) == ordered_scopes([KEY, TEAM, PROJECT])

    @pytest.mark.parametrize(
        "changes",
        [
            {"hold_id": ""},
            {"hold_id": "j1"},
            {"hold_id": "j1:x"},
            {"hold_id": "j\0:1"},
            {"hold_id": "j1:1\n"},
            {"amount_nanousd": 0},
            {"amount_nanousd": -1},
            {"amount_nanousd": 2**63},
            {"scopes": ()},
            {"scopes": (KEY,)},
            {"scopes": (PROJECT, PROJECT)},
            {"price_version": ""},
            {"price_version": "\0"},
        ],
    )
    def test_bad_hold_requests_are_refused(self, changes):
        """What could not be stored or would mean nothing is refused, by field."""
        values = {
            "hold_id": "j1:1",
            "scopes": (PROJECT,),
            "amount_nanousd": 1,
            "price_version": "1",
        }
        with pytest.raises(InvalidArgument):
            HoldRequest(**{**values, **changes})

    @pytest.mark.parametrize(
        ("kind", "amount"),
        [(EntryKind.POST, -1), (EntryKind.POST, 2**63), (EntryKind.VOID, 1), (EntryKind.REFUND, 1)],
    )
    def test_bad_settlements_are_refused(self, kind, amount):
        """A settlement is a post of 0 or more, or a void of nothing."""
        with pytest.raises(InvalidArgument):
            Settlement("j1:1", kind, amount, (PROJECT,), Outcome("j1", "p1", "completed"))

    @pytest.mark.parametrize("scope_id", ["", "a b", "x" * 129, "p\0", "p\n"])
    def test_bad_scopes_are_refused(self, scope_id):
        """A scope's id is an id."""
        with pytest.raises(InvalidArgument):
            BudgetScope(BudgetScopeKind.PROJECT, scope_id)

    def test_default_cap_needs_an_owner(self):
        """A default cap counts against somebody's allowance."""
        with pytest.raises(InvalidArgument):
            BudgetScope(BudgetScopeKind.PROJECT, "p1", "", True)

    def test_reports_are_cleaned(self):
        """A settlement's report is cut to what can be stored."""
        outcome = Outcome(
            "", "p1", "failed", model="m\0" * 300, tokens_output=-1, period="2026-13"
        ).cleaned("j1:1")

        assert outcome.job_id == "j1"
        assert outcome.model == "m" * 200
        assert (outcome.tokens_output, outcome.period) == (0, "")


class TestTopUp:
    @pytest.mark.parametrize(
        "changes",
        [
            {"amount_nanousd": 0},
            {"amount_nanousd": -1},
            {"amount_nanousd": 2**63},
            {"request_id": ""},
            {"request_id": "a b"},
            {"request_id": "x" * 256},
            {"request_id": "\0"},
        ],
    )
    def test_bad_requests_are_refused(self, changes):
        """An amount is more than 0 and fits; a request id can be stored."""
        values = {
            "scope": PROJECT,
            "period_kind": PeriodKind.DAILY,
            "amount_nanousd": 1,
            "request_id": "r",
        }
        with pytest.raises(InvalidArgument):
            TopUp(**{**values, **changes})

    def test_sum_stays_within_int64(self):
        """A cap can't be raised beyond what can be stored."""
        top_up = TopUp(PROJECT, PeriodKind.MONTHLY, 10, "r")

        assert top_up.added_to(2**63 - 11) == 2**63 - 1
        with pytest.raises(InvalidArgument):
            top_up.added_to(2**63 - 10)

    @pytest.mark.parametrize(
        "other",
        [
            TopUp(PROJECT, PeriodKind.MONTHLY, 11, "r"),
            TopUp(PROJECT, PeriodKind.DAILY, 10, "r"),
        ],
    )
    def test_same_id_means_the_same_request(self, other):
        """Another amount or period under the same id is refused; the same gets the first answer."""
        asked = TopUp(PROJECT, PeriodKind.MONTHLY, 10, "r")
        done = DoneTopUp(asked, Budget(PROJECT, *MONTH, True, 10))

        assert done.answer_to(asked) is done.budget
        with pytest.raises(IdempotencyKeyReused):
            done.answer_to(other)


@pytest.mark.parametrize("kind", EntryKind)
def test_every_kind_of_entry_has_a_meaning(kind):
    """Posts and voids settle; posts and surcharges add, refunds take off, voids neither."""
    assert kind.settles == (kind in (EntryKind.POST, EntryKind.VOID))
    assert kind.sign == {"post": 1, "surcharge": 1, "refund": -1, "void": 0}[kind]


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**15), st.integers(0, 10**15))
def test_cost_is_rounded_up_once(tokens_in, tokens_out, price_in, price_out):
    """X-M5: never below what it is, never a nano-dollar above, and never 0 for what costs."""
    raw = tokens_in * price_in + tokens_out * price_out

    cost = Price("local", "*", price_in, price_out).cost(tokens_in, tokens_out)

    assert (cost - 1) * 10**6 < raw <= cost * 10**6 or raw == cost == 0


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [
        (("a *", "b big"), ("a *", "b big"), ""),
        (("a *", "a big"), ("a *",), ""),
        (("a big",), ("a *", "b *"), ""),
        (("a *", "a big"), ("a big",), "a *"),
        (("b *", "a big"), ("a small",), "a big, b *"),
    ],
)
def test_price_is_lost_where_nothing_replaces_it(before, after, lost):
    """A model falls back to its target's `*`; without that, it has no price any more."""
    old, new = ([Price(*one.split(), 1, 1) for one in ones] for ones in (before, after))

    assert names_of(lost_prices(old, new)) == lost
