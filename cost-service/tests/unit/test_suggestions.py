"""What is suggested, from which figures, and when nothing is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cost_service.domain import suggestions
from cost_service.domain.budget import Budget
from cost_service.domain.budget_scope import BudgetScope, BudgetScopeKind
from cost_service.domain.cost_reports import CostReport, CostSums
from cost_service.domain.period import PeriodKind
from cost_service.domain.savings import Savings, Scenario
from cost_service.domain.suggestions import (
    MIN_JOBS,
    ObservedWork,
    Suggestion,
    SuggestionKind,
    WorkFacts,
    suggestions_for,
)

# The month is half over.
NOW = datetime(2026, 11, 16, tzinfo=UTC)
FEW = MIN_JOBS - 1


def observed(*, total=None, facts=None, scenarios=(), budget=None, now=NOW, days=30):
    begins_at = now - timedelta(days=days)
    scope = BudgetScope(BudgetScopeKind.PROJECT, "p1")
    return ObservedWork(
        report=CostReport(days, begins_at, now, CostSums(**(total or {"jobs": 100}))),
        savings=Savings("p1", days, begins_at, now, 100, 1, 1, 1000, 0, 0, tuple(scenarios), ()),
        facts=WorkFacts(**(facts or {})),
        budget=Budget(scope, PeriodKind.MONTHLY, "2026-11", **(budget or {"has_budget": False})),
    )


def elsewhere(cost, *, charged=1000, jobs=MIN_JOBS, target="yotta"):
    return Scenario(target, "*", jobs, charged, cost, 0, ("1",))


SIMPLE = {"simple_jobs": MIN_JOBS, "simple_charged_nanousd": 11, "simple_local_cost_nanousd": 10}
HELD = {"held_jobs": MIN_JOBS, "held_nanousd": 100, "held_charged_nanousd": 10}
BUDGET = {"has_budget": True, "cap_nanousd": 100, "posted_nanousd": 10}

FIRES = [
    ("simple_work_in_cloud", observed(facts=SIMPLE)),
    ("cheaper_target", observed(scenarios=[elsewhere(800)])),
    ("failed_work", observed(total={"jobs": 100, "failed_jobs": 10})),
    ("uncharged_provider_cost", observed(facts={"uncharged_jobs": 2})),
    ("repeated_jobs", observed(facts={"settlements": 110})),
    ("holds_above_charges", observed(facts=HELD)),
    ("budget_nearly_used", observed(budget={**BUDGET, "reserved_nanousd": 70})),
    ("budget_nearly_used", observed(budget={**BUDGET, "posted_nanousd": 51})),
    ("budget_nearly_used", observed(budget={**BUDGET, "cap_nanousd": 0, "posted_nanousd": 0})),
]
SILENT = [
    ("simple_work_in_cloud", observed(facts={**SIMPLE, "simple_jobs": FEW})),
    ("simple_work_in_cloud", observed(facts={**SIMPLE, "simple_local_cost_nanousd": 11})),
    ("cheaper_target", observed(scenarios=[elsewhere(801)])),
    ("cheaper_target", observed(scenarios=[elsewhere(1, jobs=FEW)])),
    ("cheaper_target", observed(scenarios=[elsewhere(0, charged=0)])),
    ("failed_work", observed(total={"jobs": 100, "failed_jobs": 9})),
    ("failed_work", observed(total={"jobs": FEW, "failed_jobs": FEW})),
    ("uncharged_provider_cost", observed(facts={"uncharged_jobs": 1})),
    ("uncharged_provider_cost", observed(total={"jobs": FEW}, facts={"uncharged_jobs": FEW})),
    ("repeated_jobs", observed(facts={"settlements": 109})),
    ("repeated_jobs", observed(total={"jobs": FEW}, facts={"settlements": 3 * FEW})),
    ("holds_above_charges", observed(facts={**HELD, "held_nanousd": 99})),
    ("holds_above_charges", observed(facts={**HELD, "held_jobs": FEW})),
    ("holds_above_charges", observed(facts={**HELD, "held_charged_nanousd": 0})),
    ("budget_nearly_used", observed(budget={**BUDGET, "reserved_nanousd": 69})),
    ("budget_nearly_used", observed(budget={**BUDGET, "posted_nanousd": 50})),
    ("budget_nearly_used", observed(total={"jobs": FEW}, budget={**BUDGET, "posted_nanousd": 99})),
    ("budget_nearly_used", observed()),
]


@pytest.mark.parametrize(("rule", "work"), FIRES)
def test_rule_speaks(rule, work):
    """At its threshold a rule speaks, and shows figures."""
    found = getattr(suggestions, rule)(work)

    assert found.kind.value == rule
    assert found.text
    assert all(isinstance(value, int) for value in found.figures.values())


@pytest.mark.parametrize(("rule", "work"), SILENT)
def test_rule_is_silent(rule, work):
    """Just below its threshold, or about too few jobs, a rule says nothing."""
    assert getattr(suggestions, rule)(work) is None


def test_every_rule_is_asked():
    """There is a rule of the name of each kind, and all of them are asked."""
    work = observed(
        total={"jobs": 100, "failed_jobs": 10},
        facts={**SIMPLE, **HELD, "uncharged_jobs": 2, "settlements": 110},
        scenarios=[elsewhere(800)],
        budget={**BUDGET, "reserved_nanousd": 70},
    )

    assert {one.kind for one in suggestions_for(work)} == set(SuggestionKind)


def test_nothing_is_suggested_about_nothing():
    """A project without work gets no advice."""
    assert suggestions_for(observed(total={"jobs": 0})) == ()


def test_largest_saving_comes_first():
    """Savings are for 30 days, whatever the period, and order the advice."""
    work = observed(facts=SIMPLE, scenarios=[elsewhere(700)], days=10)

    found = suggestions_for(work)

    assert [one.monthly_saving_nanousd for one in found] == [900, 3]


def test_cheapest_alternative_is_named():
    """Of several cheaper targets the one that saves most is suggested, with its figures."""
    work = observed(
        scenarios=[elsewhere(700), elsewhere(300, target="local"), elsewhere(1, jobs=1)]
    )

    assert suggestions.cheaper_target(work) == Suggestion(
        SuggestionKind.CHEAPER_TARGET,
        "The tokens of 20 jobs would have cost less on local (model *), if its answers are good "
        "enough for them.",
        {
            "jobs": 20,
            "charged_nanousd": 1000,
            "cost_there_nanousd": 300,
            "not_comparable_jobs": 0,
        },
        subject="local/*",
        monthly_saving_nanousd=700,
    )


def test_budget_forecast_follows_the_month():
    """What was charged in half of the month comes again in the other half; UTC, to the second."""
    work = observed(budget={**BUDGET, "posted_nanousd": 51})

    figures = suggestions.budget_nearly_used(work).figures

    assert (figures["forecast_nanousd"], figures["used_percent"]) == (102, 51)
    assert figures["hours_left"] == 15 * 24


@pytest.mark.parametrize(
    ("now", "speaks"), [(NOW.replace(day=4), True), (NOW.replace(day=3), False)]
)
def test_no_forecast_from_the_first_days(now, speaks):
    """Three days make a forecast, less would be a guess."""
    work = observed(budget={**BUDGET, "posted_nanousd": 51}, now=now)

    assert (suggestions.budget_nearly_used(work) is not None) == speaks


def test_forecast_is_never_below_what_is_used():
    """What is held now counts, even if the trend says less."""
    work = observed(budget={**BUDGET, "reserved_nanousd": 80}, now=NOW.replace(day=30))

    found = suggestions.budget_nearly_used(work)

    assert found.figures["forecast_nanousd"] == 90
