"""Names of people, compared in one canonical form (X-A10)."""

import pytest

from auth_service.domain.identifiers import (
    RESERVED_USERNAMES,
    canonical,
    login_identifier,
    parse_email,
    parse_username,
    username_from_email,
)
from service_kit.errors import InvalidArgument


@pytest.mark.parametrize(
    "spelling",
    ["Ann@Example.org", " ann@example.org ", "ＡＮＮ@example.org", "ann@EXAMPLE.ORG"],
)
def test_spellings_of_an_address_are_one_account(spelling):
    """Case, spaces and compatibility forms don't tell accounts apart."""
    assert login_identifier(spelling) == "ann@example.org"
    assert canonical(parse_email(spelling)) == "ann@example.org"


@pytest.mark.parametrize("spelling", ["Ann", " ann ", "ＡＮＮ", "aNN"])
def test_spellings_of_a_username_are_one_account(spelling):
    """The same holds for usernames."""
    assert login_identifier(spelling) == "ann"
    assert canonical(parse_username(spelling)) == "ann"


@pytest.mark.parametrize("text", ["ann\0", "ann\n@example.org", "\x1bann", "a" * 255])
def test_control_characters_name_nobody(text):
    """A name with NUL or line breaks, or of absurd length, is nobody's."""
    assert login_identifier(text) is None


@pytest.mark.parametrize(
    "text",
    ["", "ann", "ann@", "@example.org", "ann@localhost", "a\0b@example.org", "аnn@example.org",
     "ann@example.org\n", "x" * 250 + "@example.org", "ann@@example.org"],
)  # fmt: skip
def test_what_is_no_address_is_refused(text):
    """No mailbox, no account; a Cyrillic look-alike is none either."""
    with pytest.raises(InvalidArgument):
        parse_email(text)


@pytest.mark.parametrize(
    "text", ["", "ab", "a@b", "-ann", "ann.", "аnn", "ann smith", "ann\0", "a" * 65]
)
def test_what_is_no_username_is_refused(text):
    """Usernames are 3 to 64 plain characters: no @, no homoglyph, no space."""
    with pytest.raises(InvalidArgument):
        parse_username(text)


@pytest.mark.parametrize(
    "email",
    ["ann@example.org", "a@example.org", "Ann.Smith+tag@example.org", "...@x", "o'hara@x.org",
     "z" * 64 + "@example.org"],
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["", "1a2b3c"])
def test_a_username_is_made_from_any_address(email, suffix):
    """What we make is a username that a person could have chosen."""
    assert parse_username(username_from_email(email, suffix))


def test_names_of_operators_are_canonical():
    """A reserved name is compared in canonical form, so it must be in it."""
    assert {canonical(name) for name in RESERVED_USERNAMES} == RESERVED_USERNAMES
