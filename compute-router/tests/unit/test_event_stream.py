"""Server-sent events, however they are cut, and never without a bound."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute_router.adapters.event_stream import EventReader, EventTooLarge

STREAM = "data: one\n\n: ping\n\nevent: x\nid: 3\ndata:two\r\ndata: lines\r\n\r\ndata: [é]\n\n"


def read(chunks: list[bytes], **options) -> list[str]:
    reader = EventReader(**options)
    return [data for chunk in chunks for data in reader.feed(chunk)]


@given(st.lists(st.integers(0, len(STREAM.encode()))))
def test_cuts_do_not_matter(cuts):
    """Events come out whole, whatever pieces they come in."""
    raw = STREAM.encode()
    edges = [0, *sorted(cuts), len(raw)]
    chunks = [raw[start:end] for start, end in pairwise(edges)]

    assert read(chunks) == ["one", "two\nlines", "[é]"]


def test_unfinished_event_is_none():
    """What a stream broke off in the middle of was not said."""
    assert read([b"data: one\n\ndata: tw"]) == ["one"]
    assert read([b"data: one\n"]) == []


@given(st.lists(st.binary(max_size=50)))
def test_garbage_is_no_failure(chunks):
    """Any bytes are read, or refused by name."""
    for data in read(chunks):
        data.encode()


@pytest.mark.parametrize(
    "chunk", [b"x" * 101, b"data: " + b"x" * 90 + b"\ndata: " + b"x" * 90 + b"\n\n"]
)
def test_giant_is_refused_before_it_is_kept(chunk):
    """In one line, or in many that make one event."""
    with pytest.raises(EventTooLarge):
        read([chunk], max_event_bytes=100)


def test_giant_in_small_pieces_is_refused():
    """As soon as it is too large, without waiting for its end."""
    reader = EventReader(max_event_bytes=100)
    for _ in range(10):
        reader.feed(b"x" * 10)

    with pytest.raises(EventTooLarge):
        reader.feed(b"x")
