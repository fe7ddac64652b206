"""Which passwords are accepted (X-A11)."""

import pytest

from auth_service.domain.errors import PasswordRefused
from auth_service.domain.password_policy import COMMON_PASSWORDS, PasswordPolicy, is_too_long


@pytest.mark.parametrize("password", ["x7Kq!m2p", "пароль-длинный", "a b c d e f", "ü" * 512])
def test_a_fair_password_is_accepted(password):
    """From 8 characters to 1024 bytes, in any script."""
    PasswordPolicy().check(password)


@pytest.mark.parametrize(
    ("password", "rule"),
    [
        ("short", "too_short"),
        ("", "too_short"),
        ("ü" * 513, "too_long"),
        ("x" * 1025, "too_long"),
        ("x" * 1_000_000, "too_long"),
        ("qwerty123", "too_common"),
        ("PassWord1", "too_common"),
        ("bhiv2024", "too_common"),
        ("ann@example.org", "too_common"),
    ],
)
def test_a_bad_password_is_refused_by_its_rule(password, rule):
    """The caller learns which rule was broken, and the password is not repeated."""
    with pytest.raises(PasswordRefused) as caught:
        PasswordPolicy().check(password, own_names=frozenset({"ann@example.org"}))

    assert caught.value.metadata["rule"] == rule
    assert not password or password not in caught.value.message


def test_length_is_a_setting():
    """An installation may ask for more."""
    with pytest.raises(PasswordRefused):
        PasswordPolicy(min_length=12).check("x7Kq!m2pabc")


def test_the_limit_is_in_bytes():
    """1024 bytes are accepted, one more is not."""
    assert not is_too_long("x" * 1024)
    assert is_too_long("x" * 1023 + "ü")


def test_common_passwords_are_long_enough_to_matter():
    """A shorter one is refused by its length already."""
    assert all(len(password) >= 8 for password in COMMON_PASSWORDS)
