"""API keys: `sk-`, 43 base62 characters of chance, 6 base62 characters of checksum.

The checksum is no secret. It lets a mistyped or guessed key be refused before
anybody asks the database (X-A17), and lets a scanner tell a leaked key from
noise. What stays with us is the SHA-256 of the whole: with 256 bits of chance
behind it, a slow hash would add nothing.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from auth_service.domain.permissions import ApiKeyScope

PREFIX_CHARACTERS = 11
USE_RESOLUTION = timedelta(minutes=1)

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BODY_CHARACTERS = 43
_CHECKSUM_CHARACTERS = 6
_SECRET = re.compile(
    rf"sk-[0-9A-Za-z]{{{_BODY_CHARACTERS + _CHECKSUM_CHARACTERS}}}", flags=re.ASCII
)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key of one project, owned by the person who made it."""

    key_id: str
    user_id: str
    project_id: str
    name: str
    prefix: str
    scopes: tuple[ApiKeyScope, ...]
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    deleted_at: datetime | None = None
    request_id: str | None = None

    def is_usable(self, now: datetime) -> bool:
        """Tell whether the key may still be exchanged for a token."""
        return self.deleted_at is None and (self.expires_at is None or now < self.expires_at)

    def use_is_news(self, now: datetime) -> bool:
        """Tell whether a use now is worth writing down: once a minute is often enough."""
        return self.last_used_at is None or now - self.last_used_at >= USE_RESOLUTION

    def deleted(self, now: datetime) -> ApiKey:
        """Return this key deleted; the first time counts."""
        return self if self.deleted_at is not None else replace(self, deleted_at=now)


def new_secret() -> str:
    """Return a key that nobody can guess."""
    body = _base62(secrets.randbits(256), _BODY_CHARACTERS)
    return f"sk-{body}{_checksum(body)}"


def is_well_formed(secret: str) -> bool:
    """Tell, from the text alone, whether this could be one of our keys."""
    if _SECRET.fullmatch(secret) is None:
        return False
    body, checksum = secret[3:-_CHECKSUM_CHARACTERS], secret[-_CHECKSUM_CHARACTERS:]
    return _checksum(body) == checksum


def hash_secret(secret: str) -> bytes:
    """Return what is kept of a key: its SHA-256, 32 bytes."""
    return hashlib.sha256(secret.encode()).digest()


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(f"sk-{body}".encode()), _CHECKSUM_CHARACTERS)


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
