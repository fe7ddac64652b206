"""Conversions, by walking every value of every enum on both sides."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from weir.auth.v1 import key_service_pb2 as key_pb
from weir.cost.v1 import correction_service_pb2 as correction_pb
from weir.cost.v1 import cost_service_pb2 as cost_pb
from weir.cost.v1 import ledger_service_pb2 as ledger_pb
from weir.cost.v1 import price_book_service_pb2 as book_pb

from cost_service.adapters.auth_client import DENIAL_KINDS
from cost_service.domain.allowance import Allowance
from cost_service.domain.budget import Budget, BudgetStatus
from cost_service.domain.budget_alert import BudgetAlert
from cost_service.domain.budget_scope import BudgetScope, BudgetScopeKind
from cost_service.domain.correction import JobEntry
from cost_service.domain.costs import DayCost, JobCost, ProjectCosts
from cost_service.domain.hold import Hold, HoldState
from cost_service.domain.period import PeriodKind
from cost_service.domain.prices import Price, PriceSnapshot, PriceVersion
from cost_service.domain.settlement import EntryKind
from cost_service.entrypoints import convert, convert_corrections, convert_prices
from service_kit.errors import InvalidArgument

NOW = datetime(2026, 11, 22, 1, 2, 3, 456000, tzinfo=UTC)
SCOPE = ledger_pb.BudgetScope(
    kind=ledger_pb.BUDGET_SCOPE_KIND_PROJECT,
    scope_id="p1",
    owner_user_id="u1",
    default_cap=True,
)


def known(enum):
    """Every value of a proto enum but the unspecified one."""
    return [value for value in enum.values() if value != 0]


@pytest.mark.parametrize("kind", known(ledger_pb.BudgetScopeKind))
def test_every_scope_kind_arrives(kind):
    """Every kind of scope is one here, of the same name."""
    scope = convert.scope_from_proto(ledger_pb.BudgetScope(kind=kind, scope_id="x"))

    assert ledger_pb.BudgetScopeKind.Name(kind) == f"BUDGET_SCOPE_KIND_{scope.kind.name}"


@pytest.mark.parametrize("kind", [0, 99])
def test_unknown_scope_kind_is_refused(kind):
    """A kind that is unspecified or from the future is refused, not guessed."""
    with pytest.raises(InvalidArgument):
        convert.scope_from_proto(ledger_pb.BudgetScope(kind=kind, scope_id="x"))


def test_scope_kinds_are_all_covered():
    """No kind of scope is without a word in the proto."""
    assert set(convert.SCOPE_KINDS.values()) == set(BudgetScopeKind)


@pytest.mark.parametrize("state", HoldState)
def test_every_hold_state_leaves(state):
    """Every state of a hold keeps its name, and the hold its figures."""
    hold = convert.hold_to_proto(Hold("j1:1", state, 2**63 - 1, "1", NOW))

    assert ledger_pb.HoldState.Name(hold.state) == f"HOLD_STATE_{state.name}"
    assert (hold.hold_id, hold.amount_nanousd, hold.price_version) == ("j1:1", 2**63 - 1, "1")
    assert hold.created_at.ToDatetime(tzinfo=UTC) == NOW


def test_every_proto_hold_state_is_used():
    """No state in the proto is without a state here."""
    assert set(convert.HOLD_STATES.values()) == set(known(ledger_pb.HoldState))


@pytest.mark.parametrize("status", BudgetStatus)
def test_every_budget_status_leaves(status):
    """Every status keeps its name."""
    name = cost_pb.BudgetStatus.Name(convert.BUDGET_STATUSES[status])

    assert name == f"BUDGET_STATUS_{status.name}"


def test_every_proto_budget_status_is_used():
    """No status in the proto is without a status here."""
    assert set(convert.BUDGET_STATUSES.values()) == set(known(cost_pb.BudgetStatus))


def test_every_denial_kind_is_known():
    """Every kind of denial is one the kit acts on."""
    assert set(DENIAL_KINDS) == set(known(key_pb.DenialKind))


@pytest.mark.parametrize("kind", BudgetScopeKind)
def test_budget_leaves(kind):
    """A budget's figures arrive as they are, under the id of whose it is and no other."""
    scope = BudgetScope(kind, "x1")

    assert convert.budget_to_proto(
        Budget(scope, PeriodKind.MONTHLY, "2026-11", True, 10, 2, 8)
    ) == cost_pb.Budget(
        **{f"{kind}_id": "x1"},
        period_kind=cost_pb.BUDGET_PERIOD_MONTHLY,
        period="2026-11",
        has_budget=True,
        cap_nanousd=10,
        reserved_nanousd=2,
        posted_nanousd=8,
        status=cost_pb.BUDGET_STATUS_WARNING,
    )


@pytest.mark.parametrize("kind", PeriodKind)
def test_every_kind_of_period_goes_both_ways(kind):
    """Every kind keeps its name, out and in."""
    value = convert.PERIOD_KINDS[kind]

    assert cost_pb.BudgetPeriod.Name(value) == f"BUDGET_PERIOD_{kind.name}"
    assert convert.period_kind_from_proto(value) is kind


def test_every_proto_period_is_known():
    """None in the proto is without one here; unspecified is monthly, the future is refused."""
    assert set(convert.PERIOD_KINDS.values()) == set(known(cost_pb.BudgetPeriod))
    assert convert.period_kind_from_proto(0) is PeriodKind.MONTHLY
    with pytest.raises(InvalidArgument):
        convert.period_kind_from_proto(99)


def test_budgets_leave():
    """The month's budget always, and those that are set."""
    scope = BudgetScope(BudgetScopeKind.PROJECT, "p1")
    month = Budget(scope, PeriodKind.MONTHLY, "2026-11", False)
    day = Budget(scope, PeriodKind.DAILY, "2026-11-02", True, 10, 0, 8)

    answer = convert.budgets_to_proto([month, day])

    assert (answer.budget.has_budget, answer.budget.period) == (False, "2026-11")
    assert [budget.period for budget in answer.periods] == ["2026-11-02"]


def test_alert_and_allowance_leave():
    """They keep their figures and words."""
    scope = BudgetScope(BudgetScopeKind.PROJECT, "p1")
    alert = convert.alert_to_proto(
        BudgetAlert(7, scope, PeriodKind.TOTAL, "total", BudgetStatus.CRITICAL, 100, 96, NOW)
    )
    allowance = convert.allowance_to_proto(Allowance("u1", 100, 60, {scope.key: 10}))

    assert (alert.alert_id, alert.project_id, alert.period) == (7, "p1", "total")
    assert (alert.level, alert.period_kind) == (
        cost_pb.BUDGET_STATUS_CRITICAL,
        cost_pb.BUDGET_PERIOD_TOTAL,
    )
    assert (alert.cap_nanousd, alert.posted_nanousd) == (100, 96)
    assert alert.created_at.ToDatetime(tzinfo=UTC) == NOW
    assert allowance == cost_pb.Allowance(
        user_id="u1", amount_nanousd=100, allocated_nanousd=60, left_nanousd=30
    )


def test_hold_request_arrives():
    """A hold request keeps its parts."""
    request = convert.hold_request_from_proto(
        ledger_pb.PlaceHoldRequest(
            hold_id="j1:1", scopes=[SCOPE], amount_nanousd=5, price_version="1"
        )
    )

    assert request.scopes == (BudgetScope(BudgetScopeKind.PROJECT, "p1", "u1", True),)
    assert (request.hold_id, request.amount_nanousd, request.price_version) == ("j1:1", 5, "1")


def test_settlements_arrive():
    """A post keeps its amount and report; a void charges nothing."""
    outcome = ledger_pb.OutcomeSummary(
        job_id="j1",
        project_id="p1",
        job_state="completed",
        target="local",
        model="m",
        tokens_input=1,
        tokens_output=2,
        usage_source="counted",
        provider_cost_nanousd=3,
        price_version="1",
        period="2026-11",
        job_type="chat_completion",
        complexity=0,
        complexity_threshold=100,
    )
    outcome.finished_at.FromDatetime(NOW)
    post = convert.post_from_proto(
        ledger_pb.PostHoldRequest(hold_id="j1:1", amount_nanousd=4, scopes=[SCOPE], outcome=outcome)
    )
    void = convert.void_from_proto(ledger_pb.VoidHoldRequest(hold_id="j1:1", outcome=outcome))

    assert (post.kind, post.amount_nanousd) == (EntryKind.POST, 4)
    assert (void.kind, void.amount_nanousd, void.scopes) == (EntryKind.VOID, 0, ())
    assert post.outcome == void.outcome
    assert post.outcome.finished_at == NOW
    for field in outcome.DESCRIPTOR.fields:
        if field.name != "finished_at":
            assert getattr(post.outcome, field.name) == getattr(outcome, field.name)


def test_complexity_may_be_unknown():
    """A prompt that no router judged has no complexity, which is not 0."""
    outcome = convert.outcome_from_proto(ledger_pb.OutcomeSummary(job_id="j1"))

    assert (outcome.complexity, outcome.complexity_threshold) == (None, None)


def test_impossible_time_is_left_out():
    """A settlement with a time beyond the calendar is booked without it."""
    outcome = ledger_pb.OutcomeSummary(job_id="j1")
    outcome.finished_at.seconds = 2**62

    assert convert.outcome_from_proto(outcome).finished_at is None


def test_costs_leave():
    """Reports keep their figures; an unsettled job has no time of settlement."""
    days = (DayCost("2026-11-01", 5, 2),)
    costs = convert.project_costs_to_proto(ProjectCosts("p1", 30, 5, 4, 2, 1, days))
    cost = JobCost("j1", "p1", 9, 5, False, "local", "m", 1, 2, "1", None)

    assert (costs.total_cost_nanousd, costs.total_jobs, costs.completed_jobs) == (5, 4, 2)
    assert (costs.failed_jobs, costs.period_days) == (1, 30)
    assert costs.days == [cost_pb.DayCost(day="2026-11-01", cost_nanousd=5, jobs=2)]
    assert not convert.job_cost_to_proto(cost).HasField("settled_at")


def test_sums_beyond_int64_are_cut():
    """One absurd entry hides neither a project's costs nor a job's."""
    much = 2**63
    costs = convert.project_costs_to_proto(
        ProjectCosts("p1", 30, much, 1, 1, 0, (DayCost("2026-11-01", much, 1),))
    )
    cost = convert.job_cost_to_proto(
        JobCost("j1", "p1", 9, much, True, "local", "m", much, much, "1", None)
    )

    sums = (costs.total_cost_nanousd, costs.days[0].cost_nanousd, cost.charged_nanousd)
    assert {*sums, cost.tokens_input, cost.tokens_output} == {2**63 - 1}


def test_prices_leave():
    """A snapshot keeps every price."""
    snapshot = convert.price_snapshot_to_proto(
        PriceSnapshot("1", (Price("local", "*", 1, 2),), NOW)
    )

    assert snapshot.price_version == "1"
    assert snapshot.valid_from.ToDatetime(tzinfo=UTC) == NOW
    (price,) = snapshot.prices
    assert (price.target, price.model) == ("local", "*")
    assert (price.input_nanousd_per_million, price.output_nanousd_per_million) == (1, 2)


@pytest.mark.parametrize("kind", EntryKind)
def test_every_entry_kind_leaves(kind):
    """Every kind of entry keeps its name, and the entry its figures."""
    entry = JobEntry(7, kind, "j1:1", "j1", "p1", 2**63 - 1, "why", "2026-11", "1", NOW)

    found = convert_corrections.entry_to_proto(entry)

    assert correction_pb.LedgerEntryKind.Name(found.kind) == f"LEDGER_ENTRY_KIND_{kind.name}"
    assert (found.entry_id, found.amount_nanousd, found.reason) == (7, 2**63 - 1, "why")
    assert set(convert_corrections.ENTRY_KINDS) == set(EntryKind)


def test_price_version_comes_and_goes():
    """A version keeps its moment and its prices; without a moment it is valid at once."""
    version = PriceVersion("2", NOW, "note", True, (Price("local", "*", 1, 2),))
    told = convert_prices.version_to_proto(version)
    request = book_pb.AddPriceVersionRequest(
        price_version="2", valid_from=told.valid_from, note="note", prices=told.prices
    )

    found = convert_prices.version_from_proto(request)
    request.ClearField("valid_from")

    assert (told.is_current, found.differences(version)) == (True, ())
    assert found.valid_from == NOW
    assert convert_prices.version_from_proto(request).valid_from is None


def test_impossible_moment_is_refused():
    """A moment beyond all years is the caller's mistake."""
    request = book_pb.AddPriceVersionRequest(price_version="2")
    request.valid_from.seconds = 2**62

    with pytest.raises(InvalidArgument):
        convert_prices.version_from_proto(request)
