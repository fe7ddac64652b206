"""Money at the edge: decimals in US dollars outside, whole nano-USD inside.

A float never carries an amount inwards. Outwards a float is only a view; the
exact integer stands beside it.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

NANOUSD_PER_USD: Final = 1_000_000_000
MAX_NANOUSD: Final = 2**63 - 1

_PLAIN_DECIMAL: Final = re.compile(r"[0-9]{1,10}(\.[0-9]{1,9})?")
_MAX_USD: Final = Decimal("9223372036.854775807")
_DECIMALS: Final = 9
# Trailing zeros may follow, but not a whole message of them.
_MAX_DIGITS: Final = 40


def nanousd_from_usd(value: object) -> int:
    """Return the nano-USD in an amount of US dollars that a client sent.

    Args:
        value: An `int` or `Decimal` from a JSON number, or a plain decimal text ("12.50").

    Raises:
        ValueError: It is negative, not finite, finer than a nano-dollar, or too large.
    """
    if isinstance(value, str):
        digits = value.removeprefix("-")
        if _PLAIN_DECIMAL.fullmatch(digits) is None:
            raise ValueError("must be an amount such as 12.50, with at most 9 decimals")
        if digits != value:
            raise ValueError("must not be negative")
        value = Decimal(value)
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise ValueError("must be a number of US dollars")
    amount = Decimal(value)
    if not amount.is_finite():
        raise ValueError("must be a number of US dollars")
    if amount < 0:
        raise ValueError("must not be negative")
    if amount > _MAX_USD:
        raise ValueError("is too large")
    return 0 if amount == 0 else _exact_nanousd(amount)


def _exact_nanousd(amount: Decimal) -> int:
    _, digits, exponent = amount.as_tuple()
    if not isinstance(exponent, int) or exponent < -_MAX_DIGITS or len(digits) > _MAX_DIGITS:
        raise ValueError("has more than 9 decimals")
    coefficient = int("".join(map(str, digits)))
    places = exponent + _DECIMALS
    if places >= 0:
        return int(coefficient * 10**places)
    nanousd, rest = divmod(coefficient, int(10**-places))
    if rest:
        raise ValueError("has more than 9 decimals")
    return nanousd


def usd_view(nanousd: int) -> float:
    """Return an amount in US dollars for people; the nearest float, so never for sums."""
    return nanousd / NANOUSD_PER_USD


def usd_text(nanousd: int) -> str:
    """Return an amount in US dollars with all of its nine decimals, exactly."""
    dollars, rest = divmod(abs(nanousd), NANOUSD_PER_USD)
    return f"{'-' if nanousd < 0 else ''}{dollars}.{rest:09d}"
