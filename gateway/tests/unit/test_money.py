"""Amounts come in exactly or not at all."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.money import MAX_NANOUSD, nanousd_from_usd, usd_text, usd_view


@pytest.mark.parametrize(
    ("amount", "nanousd"),
    [
        (0, 0),
        (12, 12_000_000_000),
        (Decimal("12.50"), 12_500_000_000),
        (Decimal("0.000000001"), 1),
        (Decimal("0.0000000010"), 1),
        (Decimal("1e3"), 1_000_000_000_000),
        (Decimal("1E-9"), 1),
        (Decimal("-0"), 0),
        (Decimal("0e999999999"), 0),
        (Decimal("9223372036.854775807"), MAX_NANOUSD),
        (Decimal("123456789.123456789"), 123_456_789_123_456_789),
        ("12.50", 12_500_000_000),
        ("0.000000001", 1),
    ],
)
def test_amounts_are_exact(amount, nanousd):
    """What was written is what is kept, to the last nano-dollar."""
    assert nanousd_from_usd(amount) == nanousd


@pytest.mark.parametrize(
    "amount",
    [
        -1,
        Decimal("-0.000000001"),
        Decimal("NaN"),
        Decimal("Infinity"),
        Decimal("0.0000000001"),
        Decimal("0.30000000000000004"),
        Decimal("9223372036.854775808"),
        Decimal("1e999999999"),
        Decimal("1e-999999999"),
        Decimal("1." + "0" * 45 + "1"),
        10**100,
        True,
        1.5,
        None,
        [],
        "",
        "1e3",
        "-1",
        "+1",
        "NaN",
        " 1",
        "1_000",
        "0.0000000001",
        "٣",
    ],
)
def test_what_is_no_exact_amount_is_refused(amount):
    """No sign, no noise, no infinity, no float: nothing is rounded on the way in."""
    with pytest.raises(ValueError, match=r"must|decimals|too large"):
        nanousd_from_usd(amount)


@pytest.mark.parametrize("amount", [-5, Decimal("-5"), "-5", "-0"])
def test_negative_amounts_are_called_so(amount):
    """As a number or as a text: the same words, and nothing about whether 0 would do."""
    with pytest.raises(ValueError, match=r"^must not be negative$"):
        nanousd_from_usd(amount)


@given(st.integers(min_value=0, max_value=MAX_NANOUSD))
def test_every_amount_survives(nanousd):
    """Any amount, written out as a decimal, comes back as itself."""
    text = f"{nanousd // 10**9}.{nanousd % 10**9:09d}"

    assert nanousd_from_usd(Decimal(text)) == nanousd
    assert nanousd_from_usd(text) == nanousd


def test_view_is_dollars():
    """People see dollars."""
    assert usd_view(12_500_000_000) == 12.5
    assert usd_view(1) == 1e-9


@pytest.mark.parametrize(
    ("nanousd", "text"),
    [
        (0, "0.000000000"),
        (1, "0.000000001"),
        (-1, "-0.000000001"),
        (12_500_000_000, "12.500000000"),
        (-(2**63), "-9223372036.854775808"),
    ],
)
def test_text_is_exact(nanousd, text):
    """As a text an amount has all of its nine decimals."""
    assert usd_text(nanousd) == text
