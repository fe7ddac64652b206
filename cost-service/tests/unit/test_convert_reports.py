"""Reports in the words of their proto."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from weir.cost.v1 import report_service_pb2 as pb

from cost_service.domain.cost_reports import CostReport, CostShare, CostSums
from cost_service.domain.ledger_entry import LedgerEntry
from cost_service.domain.savings import NotComparable, Savings, Scenario
from cost_service.domain.settlement import EntryKind
from cost_service.domain.suggestions import Suggestion, SuggestionKind
from cost_service.entrypoints import convert_reports as convert

NOW = datetime(2026, 11, 22, 1, 2, 3, 456000, tzinfo=UTC)
SUMS = CostSums(1, 2, 3, 4, 5, 6, 7, 8)
LISTS = ("days", "targets", "models", "job_types", "api_keys", "projects", "teams")


def an_entry(**changes):
    values = {
        "entry_id": 1,
        "booked_at": NOW,
        "finished_at": None,
        "kind": EntryKind.POST,
        "job_id": "j1",
        "job_type": "embedding",
        "job_state": "completed",
        "target": "local",
        "model": "m",
        "complexity": 0,
        "tokens_input": 2,
        "tokens_output": 3,
        "usage_source": "counted",
        "amount_nanousd": 5,
        "provider_cost_nanousd": 6,
        "price_version": "1",
        "api_key_id": "k1",
    }
    return LedgerEntry(**{**values, **changes})


@pytest.mark.parametrize("kind", SuggestionKind)
def test_every_kind_of_suggestion_leaves(kind):
    """Every kind keeps its name, and the suggestion its figures."""
    found = convert.suggestion_to_proto(Suggestion(kind, "Why.", {"jobs": 20}, "local", 7))

    assert pb.SuggestionKind.Name(found.kind) == f"SUGGESTION_KIND_{kind.name}"
    assert (found.text, found.subject, found.monthly_saving_nanousd) == ("Why.", "local", 7)
    assert dict(found.figures) == {"jobs": 20}


def test_every_proto_kind_is_used():
    """No kind in the proto is without a rule here."""
    known = {value for value in pb.SuggestionKind.values() if value}

    assert set(convert.SUGGESTION_KINDS.values()) == known


def test_report_leaves():
    """Each list arrives as itself, with all of its sums."""
    lists = {name: (CostShare(name, SUMS),) for name in LISTS}
    found = convert.report_to_proto(CostReport(30, NOW, NOW, SUMS, **lists))

    for field in pb.CostSums.DESCRIPTOR.fields:
        assert getattr(found.total, field.name) == getattr(SUMS, field.name)
    for name in LISTS:
        (share,) = getattr(found, name)
        assert (share.name, share.sums) == (name, found.total)
    assert (found.period_days, found.ends_at.ToDatetime(tzinfo=UTC)) == (30, NOW)


def test_sums_beyond_int64_are_cut():
    """One absurd entry hides no report: its sum is shown as the largest there is."""
    found = convert.report_to_proto(CostReport(1, NOW, NOW, CostSums(2**63, -(2**70))))

    assert found.total.cost_nanousd == 2**63 - 1
    assert found.total.provider_cost_nanousd == -(2**63 - 1)


def test_savings_leave():
    """Totals, scenarios and what can't be compared keep their figures."""
    scenario = Scenario("yotta", "*", 1, 2, 3, 4, ("1", "2"))
    alone = NotComparable("x", "m", "1", 5, 6)
    savings = Savings("p1", 30, NOW, NOW, 1, 2, 3, 4, -5, 6, (scenario,), (alone,))

    found = convert.savings_to_proto(savings)

    for message, value in [
        (found, savings),
        (found.scenarios[0], scenario),
        (found.not_comparable[0], alone),
    ]:
        for field in message.DESCRIPTOR.fields:
            if field.message_type is None:
                got = getattr(message, field.name)
                told = got if isinstance(got, (int, str)) else tuple(got)
                assert told == getattr(value, field.name), field.name


@pytest.mark.parametrize(
    ("kind", "cost"), [("post", 5), ("surcharge", 5), ("refund", -5), ("void", 0)]
)
def test_entry_leaves_with_its_sign(kind, cost):
    """What entries cost adds up: a refund takes off."""
    found = convert.entry_to_proto(an_entry(kind=EntryKind(kind)))

    assert (found.kind, found.cost_nanousd) == (kind, cost)
    assert found.HasField("complexity")
    assert not found.HasField("finished_at")
    assert not convert.entry_to_proto(an_entry(complexity=None)).HasField("complexity")


def test_compute_job_leaves():
    """A job is shown where it ran and when it ended; booked, where nobody said when that was."""
    ended = datetime(2026, 11, 1, tzinfo=UTC)

    job = convert.compute_job_to_proto(an_entry(finished_at=ended))

    assert (job.job_type, job.compute_type, job.cost_nanousd) == ("embedding", "local", 5)
    assert job.timestamp.ToDatetime(tzinfo=UTC) == ended
    booked = convert.compute_job_to_proto(an_entry()).timestamp
    assert booked.ToDatetime(tzinfo=UTC) == NOW
