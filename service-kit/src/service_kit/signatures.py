"""Ed25519 signatures (RFC 8032) over canonical JSON (RFC 8785, of values without fractions)."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

PUBLIC_KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64


class SigningKeyUnusable(Exception):
    """The file is missing, can be read by others, or holds no Ed25519 key. It is named."""


class SigningKey:
    """A private key, named by the thumbprint of its public half."""

    def __init__(self, private_key: Ed25519PrivateKey) -> None:
        self._private_key = private_key
        self.public_key = private_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.key_id = key_id_of(self.public_key)

    @classmethod
    def generate(cls) -> Self:
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a PEM file (PKCS #8) that only its owner and group may read.

        Raises:
            SigningKeyUnusable: The message names the file and says what is wrong.
        """
        try:
            mode = path.stat().st_mode
            content = path.read_bytes()
        except OSError as error:
            raise SigningKeyUnusable(f"{path}: {error.strerror}") from error
        if stat.S_IMODE(mode) & 0o007:
            raise SigningKeyUnusable(f"{path} can be read by others: chmod 600 it")
        try:
            private_key = load_pem_private_key(content, password=None)
        except (ValueError, TypeError) as error:
            raise SigningKeyUnusable(f"{path} holds no private key in PEM") from error
        if not isinstance(private_key, Ed25519PrivateKey):
            raise SigningKeyUnusable(f"{path} holds a key that is not Ed25519")
        return cls(private_key)

    @classmethod
    def load_or_create(cls, path: Path) -> Self:
        """Read the file, or write a new key to it (0600) where there is none.

        Raises:
            SigningKeyUnusable: It can be neither read nor written.
        """
        if not path.exists():
            try:
                # Where another process was faster, its key is as good.
                with suppress(FileExistsError):
                    _write_new(path)
            except OSError as error:
                raise SigningKeyUnusable(f"{path}: {error.strerror}") from error
        return cls.load(path)

    def sign(self, message: bytes) -> bytes:
        """Return the signature, 64 bytes."""
        return self._private_key.sign(message)


def is_signed(message: bytes, signature: bytes, public_key: bytes) -> bool:
    """Tell whether the key's owner signed the message. Anything malformed was not signed."""
    if len(public_key) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def canonical_json(value: object) -> bytes:
    """Return the one way to write a value down: sorted keys, no spaces, UTF-8.

    Raises:
        TypeError: It holds a fraction, for which there is more than one way, or no JSON at all.
    """
    _refuse_fractions(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def jwk_of(public_key: bytes) -> dict[str, str]:
    """Return a public key as RFC 8037 writes it, with its thumbprint as `kid`."""
    return {**_jwk_members(public_key), "kid": key_id_of(public_key), "use": "sig", "alg": "EdDSA"}


def public_key_of(jwk: Mapping[str, Any]) -> bytes:
    """Return the raw key of a JWK.

    Raises:
        ValueError: It is no Ed25519 public key.
    """
    x = jwk.get("x")
    if jwk.get("kty") != "OKP" or jwk.get("crv") != "Ed25519" or not isinstance(x, str):
        raise ValueError("not an Ed25519 key")
    raw = base64.urlsafe_b64decode(x + "=" * (-len(x) % 4))
    if len(raw) != PUBLIC_KEY_BYTES:
        raise ValueError(f"an Ed25519 key has {PUBLIC_KEY_BYTES} bytes")
    return raw


def key_id_of(public_key: bytes) -> str:
    """Return the RFC 7638 thumbprint: nobody can give another key this name."""
    return _base64url(hashlib.sha256(canonical_json(_jwk_members(public_key))).digest())


def _jwk_members(public_key: bytes) -> dict[str, str]:
    return {"crv": "Ed25519", "kty": "OKP", "x": _base64url(public_key)}


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _refuse_fractions(value: object) -> None:
    if isinstance(value, float):
        raise TypeError("a fraction can be written in more than one way")
    if isinstance(value, Mapping):
        for key, each in value.items():
            if not isinstance(key, str):
                raise TypeError("a key is a text")
            _refuse_fractions(each)
    elif isinstance(value, list | tuple):
        for each in value:
            _refuse_fractions(each)


def _write_new(path: Path) -> None:
    """Write a new key so that nobody ever sees half of it."""
    pem = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Not the process's number: in containers on one volume it is 1 for all.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
    try:
        os.link(draft, path)
    finally:
        draft.unlink()
