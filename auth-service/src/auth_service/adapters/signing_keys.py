"""The keys that sign tokens: Ed25519, one PEM file each, the file's stem is the key id."""

from __future__ import annotations

import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from auth_service.usecases.ports import SigningKey

_KID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class SigningKeysUnusable(Exception):
    """SIGNING_KEYS_DIR holds no key, or a file that is no usable key."""


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A key with both halves."""

    kid: str
    private_key: Ed25519PrivateKey = field(repr=False)
    created_at: datetime

    @property
    def public(self) -> SigningKey:
        """What others may know of it."""
        raw = self.private_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return SigningKey(self.kid, raw, self.created_at)


class SigningKeyFiles:
    """The keys of a directory, as they were when it was read; see `ports.SigningKeys`.

    The newest file signs; of files of the same age, the last by name. A key
    that no longer signs stays listed while its file is there, which should be
    at least the life of an access token.

    Raises:
        SigningKeysUnusable: There is no key, or a file that others may read
            or that is no Ed25519 key. The message names the file.
    """

    def __init__(self, directory: Path) -> None:
        found = [_read(path) for path in sorted(directory.glob("*.pem"))]
        if not found:
            raise SigningKeysUnusable(f"SIGNING_KEYS_DIR: there is no .pem file in {directory}")
        self._keys = sorted(found, key=lambda key: (key.created_at, key.kid), reverse=True)

    @property
    def newest(self) -> PrivateKey:
        """The key that signs."""
        return self._keys[0]

    def list_public(self) -> Sequence[SigningKey]:
        return [key.public for key in self._keys]


def _read(path: Path) -> PrivateKey:
    if _KID.fullmatch(path.stem) is None:
        raise SigningKeysUnusable(f"SIGNING_KEYS_DIR: {path.name} is no name for a key")
    status = path.stat()
    # A group may read: a container's orchestrator mounts secrets that way.
    if status.st_mode & (stat.S_IRWXO | stat.S_IWGRP | stat.S_IXGRP):
        raise SigningKeysUnusable(f"SIGNING_KEYS_DIR: {path.name} is open to others; chmod 600")
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, OSError) as error:
        raise SigningKeysUnusable(f"SIGNING_KEYS_DIR: {path.name} can't be read") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SigningKeysUnusable(f"SIGNING_KEYS_DIR: {path.name} is no Ed25519 key")
    return PrivateKey(path.stem, key, datetime.fromtimestamp(status.st_mtime, UTC))
