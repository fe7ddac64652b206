"""JSON means one thing or is refused."""

import contextlib
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.entrypoints.errors import EdgeError
from gateway.entrypoints.strict_json import MAX_DEPTH, parse_json

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
            inner,
            max_size=3,
        )
    ),
    max_leaves=20,
)


@given(JSON, st.booleans())
def test_good_json_is_read(value, ascii_only):
    """Whatever a client of ours may mean comes through as it is."""
    assert parse_json(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body):
    """No bytes make it fail in another way."""
    with contextlib.suppress(EdgeError):
        parse_json(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'a': 1}",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 1}}',
        b'{"a": "\\ud800"}',
        b'{"\\udfff": 1}',
        b'{"a": ["\\u0000"]}',
        b'{"a": "\x00"}',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b"\xef\xbb\xbf{}",
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": 1.' + b"0" * 5000 + b"}",
        b"[" * 100 + b"]" * 100,
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"a": 1} {"b": 2}',
    ],
)
def test_ambiguous_or_broken_json_is_refused(body):
    """Twice the same key, NaN, half a surrogate, NUL, endless numbers or nesting: 400."""
    with pytest.raises(EdgeError) as caught:
        parse_json(body)

    assert caught.value.status == 400
    assert caught.value.reason == "INVALID_JSON"


def test_depth_counts_nesting_and_not_brackets():
    """Many brackets side by side, or inside a text, are no nesting."""
    assert parse_json(b"[" + b"[]," * 1000 + b"[]]")
    assert parse_json(json.dumps({"a": '[{"\\' * 500, "b": [[]] * 100}).encode())
    assert parse_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)


def test_numbers_keep_their_digits():
    """A number with a point is a decimal, not a float that is near it."""
    assert parse_json(b"123456789.123456789") == Decimal("123456789.123456789")


def test_surrogate_pairs_are_text():
    """Two halves that belong together are a character."""
    assert parse_json(b'"\\ud83d\\ude00"') == "\U0001f600"
