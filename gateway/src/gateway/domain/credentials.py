"""What a client shows to say who it is."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from service_kit.errors import Unauthenticated

# As auth-service makes them: 43 characters of chance and 6 of checksum.
_API_KEY: Final = re.compile(r"sk-([0-9A-Za-z]{43})([0-9A-Za-z]{6})")
_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CHECKSUM_CHARACTERS: Final = 6
_MAX_CREDENTIAL_CHARACTERS: Final = 8 * 1024


@dataclass(frozen=True, slots=True)
class PersonToken:
    """The access token of a login session."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as its holder sent it."""

    secret: str = field(repr=False)

    @property
    def digest(self) -> bytes:
        """The key's SHA-256, under which anything about it may be kept."""
        return hashlib.sha256(self.secret.encode()).digest()


Credential = PersonToken | ApiKey


def read_credential(authorization: Sequence[str], api_key: Sequence[str]) -> Credential:
    """Return the one credential among the headers of a request.

    Args:
        authorization: Every `Authorization` value: `Bearer <jwt>`, `Bearer sk-...` or `sk-...`.
        api_key: Every `X-API-Key` value.

    Raises:
        Unauthenticated: `CREDENTIAL_MISSING`; `CREDENTIAL_AMBIGUOUS` where two differ;
            `CREDENTIAL_INVALID` for any other form; `API_KEY_REFUSED` for what can't be a key.
    """
    found = {_without_scheme(value) for value in authorization} | {
        _keyed(value) for value in api_key
    }
    if not found:
        raise Unauthenticated("CREDENTIAL_MISSING", "This needs a token or an API key.")
    if len(found) > 1:
        raise Unauthenticated(
            "CREDENTIAL_AMBIGUOUS", "The request carries several different credentials."
        )
    return _read(*found)


def _without_scheme(authorization: str) -> str:
    scheme, _, rest = authorization.strip(" ").partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip(" ")
    if scheme.startswith("sk-") and not rest:
        return scheme
    raise Unauthenticated("CREDENTIAL_INVALID", "The authorization is not a bearer token.")


def _keyed(value: str) -> str:
    value = value.strip(" ")
    if not value.startswith("sk-"):
        raise Unauthenticated("API_KEY_REFUSED", "The API key is not valid.")
    return value


def _read(text: str) -> Credential:
    if not text or len(text) > _MAX_CREDENTIAL_CHARACTERS:
        raise Unauthenticated("CREDENTIAL_INVALID", "The credential is not valid.")
    if not text.startswith("sk-"):
        return PersonToken(text)
    if not _is_well_formed(text):
        raise Unauthenticated("API_KEY_REFUSED", "The API key is not valid.")
    return ApiKey(text)


def _is_well_formed(secret: str) -> bool:
    """Tell from the text alone whether this could be a key, so that guesses cost nobody."""
    match = _API_KEY.fullmatch(secret)
    return match is not None and checksum(match[1]) == match[2]


def checksum(body: str) -> str:
    """Return the last characters of the key that starts with `sk-` and `body`."""
    number = zlib.crc32(f"sk-{body}".encode())
    digits = []
    for _ in range(_CHECKSUM_CHARACTERS):
        number, digit = divmod(number, len(_BASE62))
        digits.append(_BASE62[digit])
    return "".join(reversed(digits))
