"""The price file: what is read, what is refused and where, and what is written."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cost_service.adapters.yaml_price_file import (
    PriceFileInvalid,
    read_price_file,
    write_price_file,
)
from cost_service.bootstrap import imported_prices, shipped_prices
from cost_service.domain.prices import MAX_NANOUSD_PER_MILLION, NewPriceVersion, Price, usd_text

FILE = """\
versions:
  - price_version: "2"
    valid_from: 2026-01-01T00:00:00Z
    note: Fine.
    prices:
      - {target: local, model: "*", input_usd: 0.1, output_usd: 0.000000001}
      - {target: yotta, model: "*", input_usd: 1, output_usd: 1000000}
"""


def test_amounts_are_exact():
    """X-M5: a decimal is read as it is written, to the last nano-dollar."""
    (version,) = read_price_file(FILE)

    assert version.valid_from == datetime(2026, 1, 1, tzinfo=UTC)
    assert version.prices == (
        Price("local", "*", 100_000_000, 1),
        Price("yotta", "*", 10**9, 10**15),
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("input_usd: 0.1", "input_usd: -0.1", "line 6: '-0.1' is no price"),
        ("input_usd: 0.1", "input_usd: 1e3", "line 6: '1e3' is no price"),
        ("input_usd: 0.1", "input_usd: .nan", "line 6: '.nan' is no price"),
        ("input_usd: 0.1", "input_usd: .inf", "line 6: '.inf' is no price"),
        ("input_usd: 0.1", "input_usd: 0.1234567891", "line 6: '0.1234567891' is no price"),
        ("input_usd: 0.1", "input_usd: 1000001", "line 6: The input price must be 0 to 1 US"),
        ("input_usd: 0.1", "input_usd: [1]", "line 6: one value is needed here"),
        ("input_usd: 0.1,", "", "line 6: 'input_usd' is missing"),
        ("input_usd: 0.1", "input_eur: 0.1", "line 6: 'input_eur' is not known here"),
        ("target: yotta", "target: local", "line 7: local * has a price already"),
        ("target: yotta", "target: ''", "line 7: The target is missing, too long"),
        ("    note: Fine.\n", "    note: Fine.\n    note: x\n", "line 5: 'note' stands here twice"),
        ("    note: Fine.\n", "", "line 2: 'note' is missing"),
        ("01T00:00:00Z", "01", "line 3: '2026-01-01' lacks its time zone"),
        ("2026-01-01T", "soon T", "line 3: 'soon T00:00:00Z' is no moment"),
        ('"2"', '"a b"', "line 2: The price_version must be"),
        ("versions:", "version:", "line 1: 'version' is not known here"),
        (FILE, "", "line 1: the file is empty"),
        (FILE, "versions: []", "line 1: a list of at least one entry"),
        (FILE, "- 1", "line 1: the fields versions are needed here"),
        (FILE, "a: [", "not YAML"),
        (FILE, FILE + FILE.partition("\n")[2], "line 2: two versions have one name"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(old, new, message):
    """X-M4: whatever can't be a price book is refused, and the line is told."""
    assert old in FILE

    with pytest.raises(PriceFileInvalid) as refused:
        read_price_file(FILE.replace(old, new, 1))

    assert message in str(refused.value)


names = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FF).filter(str.isprintable),
    min_size=1,
    max_size=20,
)
amounts = st.integers(0, MAX_NANOUSD_PER_MILLION)


@given(st.dictionaries(st.tuples(names, names), st.tuples(amounts, amounts), min_size=1))
def test_written_is_read_back(prices):
    """What is written for review says exactly what it was written from, whatever the names."""
    visible = {key: one for key, one in prices.items() if all(n == n.strip() for n in key)}
    if not visible:
        return
    version = NewPriceVersion(
        "v-2.1",
        datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC),
        'a "note": # é',
        tuple(Price(*key, *one) for key, one in visible.items()),
    )

    assert read_price_file(write_price_file(version, ["left out: x"])) == (version,)


@given(st.integers(0, 2**63 - 1))
def test_dollars_are_shown_exactly(nanousd):
    """What is shown in US dollars is the same amount."""
    from decimal import Decimal

    assert Decimal(usd_text(nanousd)).scaleb(9) == nanousd


def test_shipped_file_holds_the_documents_rates():
    """D1, K9: version 1 is the documents' table, and the alternative beside it is a comment."""
    (version,) = read_price_file(shipped_prices())

    assert version.price_version == "1"
    assert len(version.prices) == 8
    assert "#   note: What power and rented GPUs really cost." in shipped_prices()


def test_commented_alternative_could_be_used():
    """K9: with its comment signs removed, the alternative is a version that is accepted."""
    lines = shipped_prices().splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("  # - price_version:"))
    lines[start:] = [line.replace("  # ", "  ", 1) for line in lines[start:]]

    first, second = read_price_file("\n".join(lines))

    assert (first.price_version, second.price_version) == ("1", "realistic")
    assert {price.key for price in first.prices} == {price.key for price in second.prices}


def test_imported_prices_are_for_review():
    """The package's prices come as a price file; what it can't say plainly is named."""
    written = imported_prices(
        "anthropic", "claude", "2", ["claude-sonnet-4-0"], datetime(2026, 11, 22, tzinfo=UTC)
    )

    (version,) = read_price_file(written)
    assert version.prices == (Price("claude", "claude-sonnet-4-0", 3 * 10**9, 15 * 10**9),)
    assert "for review" in written


def test_prices_by_prompt_length_are_left_out():
    """A price with steps is none of ours: the model is named as left out, not guessed."""
    written = imported_prices("anthropic", "anthropic", "2", [], datetime(2026, 11, 22, tzinfo=UTC))

    assert ": its price depends on the length of the prompt\n" in written
    assert read_price_file(written)
