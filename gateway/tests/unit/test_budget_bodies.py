"""X-M4: no amount gets past the edge that is negative, not finite, too fine or too large."""

import json
import os
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.domain.money import MAX_NANOUSD
from gateway.entrypoints.errors import EdgeError
from gateway.entrypoints.schemas.budgets import SetAllowanceBody, SetPeriodBudgetBody, TopUpBody
from gateway.entrypoints.strict_json import parse_json

# WEIR_TEST_SCALE=40 for the ten thousand of the fault list.
GENERATED = 300 * int(os.environ.get("WEIR_TEST_SCALE", "1"))
FIELDS = [
    (SetPeriodBudgetBody, "budget_allocated"),
    (TopUpBody, "amount"),
    (SetAllowanceBody, "allowance"),
]

negative = st.decimals(max_value=Decimal("-1e-30"), allow_nan=False, allow_infinity=False)
too_fine = st.integers(1, 10**18 - 1).filter(lambda n: n % 1000).map(lambda n: f"0.{n:018d}")
too_large = st.integers(MAX_NANOUSD + 1, 10**30).map(lambda n: f"{n // 10**9}.{n % 10**9:09d}")
no_number = st.sampled_from(["NaN", "Infinity", "-Infinity", "1e3", "", " 1", "1,5", "١"])
bad_amounts = st.one_of(
    st.one_of(negative.map(str), too_fine, too_large),
    st.one_of(negative.map(str), too_fine, too_large, no_number).map(json.dumps),
    st.sampled_from(["true", "false", "null", "[1]", '{"a": 1}', "1e400", "-1e400", "-1"]),
)


@pytest.mark.parametrize(("body", "field"), FIELDS)
def test_bad_amounts_are_refused(body, field):
    """Whatever a client writes for an amount that is none, as a number or a text."""

    @settings(max_examples=GENERATED // len(FIELDS), deadline=None)
    @given(bad_amounts)
    def refused(amount):
        # 422, or 400 for what is no number in JSON to begin with.
        with pytest.raises((ValidationError, EdgeError)):
            body.model_validate(parse_json(f'{{"{field}": {amount}}}'.encode()))

    refused()


@given(st.integers(1, MAX_NANOUSD))
def test_good_amounts_are_exact(nanousd):
    """Every amount that can be stored arrives to the nano-dollar, as a number and as a text."""
    text = f"{nanousd // 10**9}.{nanousd % 10**9:09d}"

    for written in (text, f'"{text}"'):
        parsed = parse_json(f'{{"amount": {written}}}'.encode())
        assert TopUpBody.model_validate(parsed).amount == nanousd
