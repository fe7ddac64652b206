"""Names of people in one canonical form, so that look-alikes are the same account.

Case, compatibility forms (NFKC) and surrounding spaces don't tell accounts
apart. Usernames and the local part of an e-mail address are ASCII after that,
which leaves no homoglyphs.
"""

from __future__ import annotations

import re
import unicodedata

from email_validator import EmailNotValidError, validate_email

from service_kit.errors import InvalidArgument

EMAIL_MAX_CHARACTERS = 254

# An operator's accounts; a stranger may not look like one.
RESERVED_USERNAMES = frozenset(
    {"admin", "administrator", "operator", "root", "security", "support", "system", "weir"}
)

_USERNAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{1,62})[A-Za-z0-9]")
_NOT_IN_USERNAME = re.compile(r"[^a-z0-9]+")


def canonical(text: str) -> str:
    """Return the form in which identifiers are compared."""
    # Case folding may leave a form that NFKC changes again: settle it.
    folded = unicodedata.normalize("NFKC", text).casefold()
    return unicodedata.normalize("NFKC", folded).strip()


def has_control_characters(text: str) -> bool:
    """Tell whether the text holds NUL, line breaks or anything else that is not to be seen."""
    return any(unicodedata.category(character) in ("Cc", "Cs") for character in text)


def parse_email(text: str) -> str:
    """Return the address as it is kept and shown.

    Raises:
        InvalidArgument: It is not an e-mail address.
    """
    if len(text) > EMAIL_MAX_CHARACTERS or has_control_characters(text):
        raise InvalidArgument("email", "This is not an e-mail address.")
    try:
        found = validate_email(
            unicodedata.normalize("NFKC", text).strip(),
            check_deliverability=False,
            allow_smtputf8=False,
            # Lets `.test` pass: reserved for tests by RFC 2606, and nobody's mailbox.
            test_environment=True,
        )
    except EmailNotValidError as error:
        raise InvalidArgument("email", "This is not an e-mail address.") from error
    return found.normalized


def parse_username(text: str) -> str:
    """Return the username as it is kept and shown.

    Raises:
        InvalidArgument: It is not 3 to 64 ASCII letters, digits, dots, dashes and underscores,
            with a letter or digit at both ends.
    """
    name = unicodedata.normalize("NFKC", text).strip()
    if _USERNAME.fullmatch(name) is None:
        raise InvalidArgument(
            "username",
            "A username is 3 to 64 letters, digits, dots, dashes and underscores, "
            "with a letter or digit at both ends.",
        )
    return name


def username_from_email(email: str, suffix: str = "") -> str:
    """Return a username made from the local part of an address, and a suffix if there is one."""
    local = canonical(email).partition("@")[0].partition("+")[0]
    stem = _NOT_IN_USERNAME.sub("-", local).strip("-")[:48].strip("-")
    if len(stem) < 3:
        stem = f"user-{stem}".strip("-")
    return f"{stem}-{suffix}" if suffix else stem


def login_identifier(text: str) -> str | None:
    """Return the canonical form of what somebody typed to log in, or `None` if it names nobody."""
    if len(text) > EMAIL_MAX_CHARACTERS or has_control_characters(text):
        return None
    if "@" not in text:
        return canonical(text)
    try:
        return canonical(parse_email(text))
    except InvalidArgument:
        # The bootstrap administrator's address has no dot after the @.
        return canonical(text)
