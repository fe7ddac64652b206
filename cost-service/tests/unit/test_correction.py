"""Refunds and surcharges: what may be asked for, and how far a charge goes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cost_service.domain.correction import MAX_SURCHARGE_NANOUSD, Charge, Correction, JobEntry
from cost_service.domain.errors import RefundExceedsCharge
from cost_service.domain.settlement import EntryKind
from service_kit.errors import InvalidArgument

REFUND, SURCHARGE = EntryKind.REFUND, EntryKind.SURCHARGE


def a_correction(**changes):
    values = {
        "request_id": "r1",
        "kind": REFUND,
        "job_id": "j1",
        "admission": 0,
        "amount_nanousd": 10,
        "reason": "sorry",
    }
    return Correction(**{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"request_id": ""}, "request_id"),
        ({"request_id": "a b"}, "request_id"),
        ({"job_id": "j:1"}, "job_id"),
        ({"kind": EntryKind.POST}, "kind"),
        ({"admission": -1}, "admission"),
        ({"amount_nanousd": 0}, "amount"),
        ({"amount_nanousd": -1}, "amount"),
        ({"amount_nanousd": 2**63}, "amount"),
        ({"kind": SURCHARGE, "amount_nanousd": MAX_SURCHARGE_NANOUSD + 1}, "amount"),
        ({"reason": " \0 "}, "reason"),
    ],
)
def test_nonsense_is_refused(changes, field):
    """X-M4: no id, no amount or no reason, no correction."""
    with pytest.raises(InvalidArgument) as refused:
        a_correction(**changes)

    assert refused.value.metadata["field"] == field


def test_limit_is_told_in_dollars():
    """Whoever asks for too much learns how much there may be, in what they wrote it in."""
    with pytest.raises(InvalidArgument, match=r"at most 1000000 US dollars\."):
        a_correction(kind=SURCHARGE, amount_nanousd=MAX_SURCHARGE_NANOUSD + 1)


def test_long_reasons_are_cut():
    """What is too long is cut, not refused: the money matters."""
    assert len(a_correction(reason="x" * 1000).reason) == 200


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"admission": 2}, True),
        ({"admission": 1}, False),
        ({"kind": SURCHARGE}, False),
        ({"job_id": "j2"}, False),
        ({"amount_nanousd": 11}, False),
        ({"reason": "other"}, False),
    ],
)
def test_repetition_is_told_from_another_request(changes, same):
    """An entry answers a request only if it is what the request asks for."""
    now = datetime(2026, 11, 22, tzinfo=UTC)
    entry = JobEntry(1, REFUND, "j1:2", "j1", "p1", 10, "sorry", "2026-11", "1", now)

    assert a_correction(**changes).asks_for(entry) is same


steps = st.lists(st.tuples(st.sampled_from([REFUND, SURCHARGE]), st.integers(1, 100)), max_size=30)


@given(st.integers(0, 300), steps)
def test_never_more_is_refunded_than_charged(posted, steps):
    """Whatever the order: what is refunded never passes the charge and its surcharges."""
    charge = Charge("j1:1", posted, 0, 0)
    for kind, amount in steps:
        left = charge.left_nanousd
        correction = a_correction(kind=kind, amount_nanousd=amount)
        if kind is REFUND and amount > left:
            with pytest.raises(RefundExceedsCharge):
                charge.corrected(correction)
        else:
            charge = charge.corrected(correction)
            assert charge.left_nanousd == left + kind.sign * amount
        assert charge.left_nanousd >= 0
