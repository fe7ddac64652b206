"""Page tokens: opaque, and good for one query alone (X-Z3)."""

import base64
import json

import pytest

from service_kit.errors import InvalidArgument
from service_kit.paging import decode_page_token, encode_page_token, page_size

SCOPE = ("jobs", "project-1", "state=FAILED")


def test_token_returns_the_position():
    """The next page starts where this one ended."""
    token = encode_page_token(["2026-01-02T00:00:00Z", 7], scope=SCOPE)

    assert decode_page_token(token, scope=SCOPE) == ["2026-01-02T00:00:00Z", 7]
    assert token.isascii()
    assert "=" not in token


def test_no_token_is_the_first_page():
    """An empty token asks for the beginning."""
    assert decode_page_token("", scope=SCOPE) is None


@pytest.mark.parametrize(
    "other",
    [
        ("jobs", "project-2", "state=FAILED"),
        ("jobs", "project-1", "state=QUEUED"),
        ("jobs", "project-1"),
        ("jobs,project-1", "state=FAILED"),
        (),
    ],
)
def test_token_of_another_query_is_refused(other):
    """A token made for one tenant or filter does not work for another."""
    token = encode_page_token(["x"], scope=SCOPE)

    with pytest.raises(InvalidArgument) as caught:
        decode_page_token(token, scope=other)

    assert caught.value.metadata == {"field": "page_token"}


def forged(body: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(body).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "!!!!",
        "é",
        "\x00",
        "A" * 100_000,
        forged([]),
        forged({}),
        forged({"s": "x", "p": []}),
        forged("x"),
        base64.urlsafe_b64encode(b"[" * 50_000).decode(),
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    ],
)
def test_damaged_token_is_refused(token):
    """Anything else than what we made is an invalid argument, never a crash."""
    with pytest.raises(InvalidArgument):
        decode_page_token(token, scope=SCOPE)


@pytest.mark.parametrize("position", [None, "x", {"a": 1}, [None], [True], [[1]], [1.5]])
def test_position_of_a_wrong_type_is_refused(position):
    """A token that names the right query and holds no position is refused."""
    true_token = encode_page_token(["x"], scope=SCOPE)
    body = json.loads(base64.urlsafe_b64decode(true_token + "=" * (-len(true_token) % 4)))

    with pytest.raises(InvalidArgument):
        decode_page_token(forged(body | {"p": position}), scope=SCOPE)


def test_page_sizes_are_bounded():
    """Zero asks for the default, too many for the maximum, fewer than none for nothing."""
    assert page_size(0) == 50
    assert page_size(7) == 7
    assert page_size(10_000) == 200
    with pytest.raises(InvalidArgument):
        page_size(-1)
