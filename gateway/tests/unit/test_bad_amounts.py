"""X-M4: ten thousand amounts that are none, at the bodies that carry money."""

from __future__ import annotations

import random

import pytest
from pydantic import ValidationError

from gateway.domain.money import MAX_NANOUSD
from gateway.entrypoints.errors import EdgeError
from gateway.entrypoints.schemas.corrections import CorrectionBody
from gateway.entrypoints.schemas.prices import PriceBody
from gateway.entrypoints.strict_json import parse_json

SEED = 20261122
KINDS = (
    lambda chance: f"-{chance.randint(1, 10**12)}",
    lambda chance: f"-0.{chance.randint(1, 10**9)}",
    lambda chance: f"{MAX_NANOUSD // 10**9 + chance.randint(1, 10**18)}",
    lambda chance: f"{chance.randint(1, 9)}e{chance.randint(11, 400)}",
    lambda chance: f"{chance.randint(0, 9)}.{chance.randint(1, 10**9):09d}{chance.randint(1, 9)}",
    lambda chance: chance.choice(["NaN", "Infinity", "-Infinity", "true", "null", "[]", "{}"]),
    lambda chance: f'"{chance.choice(["NaN", "inf", "-1", "1e3", " 1", "1_0", "0x1", "", "1,5"])}"',
    lambda chance: f'"{chance.randint(1, 9)}.{chance.randint(0, 10**12):012d}1"',
)


def test_ten_thousand_bad_amounts_are_refused():
    """Negative, not finite, too fine, beyond 64 bits or no number: none of them gets in."""
    chance = random.Random(SEED)
    for number in range(10_000):
        written = KINDS[number % len(KINDS)](chance)
        with pytest.raises((ValidationError, EdgeError)):
            CorrectionBody.model_validate(
                parse_json(f'{{"amount": {written}, "reason": "x"}}'.encode())
            )


@pytest.mark.parametrize("written", ["-1", "1e30", "0.0000000001", '"NaN"', "true"])
def test_prices_are_amounts_too(written):
    """A price is read by the same rules."""
    body = f'{{"target": "t", "model": "*", "input_usd_per_million": {written}}}'

    with pytest.raises(ValidationError) as refused:
        PriceBody.model_validate({**parse_json(body.encode()), "output_usd_per_million": 1})

    assert refused.value.errors()[0]["loc"] == ("input_usd_per_million",)
