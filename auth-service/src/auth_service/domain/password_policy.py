"""Which passwords are accepted. Nothing is cut off: every byte counts."""

from __future__ import annotations

from dataclasses import dataclass

from auth_service.domain.errors import PasswordRefused
from auth_service.domain.identifiers import canonical

PASSWORD_MAX_BYTES = 1024

# The passwords that are guessed first, and those that documents print as examples.
COMMON_PASSWORDS = frozenset(
    """
    00000000 11111111 12341234 12344321 123123123 12345678 123456789 1234567890 1q2w3e4r
    1q2w3e4r5t 1qaz2wsx 66666666 87654321 88888888 987654321 99999999 aa123456 abc12345
    abcd1234 access14 admin123 admin1234 administrator asdfasdf asdfghjk asdfghjkl baseball
    basketball bhiv2024 changeit changeme changeme1 changethis charlie1 computer football
    iloveyou iloveyou1 internet jennifer letmein1 liverpool master123 michelle monkey123
    p@ssw0rd p@ssword passw0rd password password! password1 password12 password123
    password1234 placeholder princess q1w2e3r4 qazwsxedc qwer1234 qwerty12 qwerty123
    qwertyui qwertyuiop secret123 starwars sunshine superman test1234 testtest trustno1
    welcome1 welcome123 whatever yourpassword zaq12wsx zxcvbnm1
    """.split()  # noqa: SIM905 - a list of words reads as words
)


@dataclass(frozen=True, slots=True)
class PasswordPolicy:
    """Accepts passwords by length and by not being everybody's first guess."""

    min_length: int = 8

    def check(self, password: str, *, own_names: frozenset[str] = frozenset()) -> None:
        """Accept the password or say which rule it breaks.

        Args:
            password: As typed. Lengths are `min_length` characters at least, 1024 bytes at most.
            own_names: Canonical names of the account, which are no secret.

        Raises:
            PasswordRefused: It breaks a rule.
        """
        if len(password) < self.min_length:
            raise PasswordRefused(
                "too_short", f"A password has {self.min_length} characters or more."
            )
        if is_too_long(password):
            raise PasswordRefused("too_long", f"A password has {PASSWORD_MAX_BYTES} bytes at most.")
        if canonical(password) in COMMON_PASSWORDS | own_names:
            raise PasswordRefused("too_common", "This password is too easy to guess.")


def is_too_long(password: str) -> bool:
    """Tell whether no account can have this password, because of its length."""
    # A character has one byte at least: don't encode a megabyte to learn that it is one.
    return len(password) > PASSWORD_MAX_BYTES or len(password.encode()) > PASSWORD_MAX_BYTES
