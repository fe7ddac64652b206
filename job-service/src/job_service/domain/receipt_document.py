"""A receipt as a document from anywhere: its form, before anything in it is believed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from service_kit.signatures import SIGNATURE_BYTES, key_id_of, public_key_of

MAX_KEYS: Final = 100_000


class ReceiptRefused(Exception):
    """Why a receipt proves nothing: one sentence for each thing that is wrong."""

    def __init__(self, *problems: str) -> None:
        super().__init__(" ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Signed:
    """A statement with its signature, both still to be checked."""

    statement: Mapping[str, Any]
    key_id: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class RingKey:
    """A public key that is named by its thumbprint."""

    key_id: str
    public_key: bytes
    owner: str


def signed_from(document: object, whose: str) -> Signed:
    """Return a `{statement, key_id, signature}`.

    Args:
        document: As it was read.
        whose: "receipt" or "worker's result", for messages.

    Raises:
        ReceiptRefused: It has another form; the field is named.
    """
    if not isinstance(document, Mapping):
        raise ReceiptRefused(f"The {whose} is no JSON object.")
    statement, key_id = document.get("statement"), document.get("key_id")
    if not isinstance(statement, Mapping):
        raise ReceiptRefused(f"The {whose} has no statement that is an object.")
    if not isinstance(key_id, str):
        raise ReceiptRefused(f"The {whose} has no key_id that is a text.")
    return Signed(statement, key_id, _signature(document.get("signature"), whose))


def _signature(found: object, whose: str) -> bytes:
    digits = 2 * SIGNATURE_BYTES
    if not isinstance(found, str) or not re.fullmatch(rf"[0-9a-fA-F]{{{digits}}}", found):
        raise ReceiptRefused(f"The {whose}'s signature is not of {digits} hexadecimal digits.")
    return bytes.fromhex(found)


def key_ring(document: object) -> Mapping[str, RingKey]:
    """Return the keys of a key set (RFC 7517), or of a bare list, by their ids.

    Raises:
        ReceiptRefused: One is no Ed25519 key, or its id is not its thumbprint.
    """
    listed = document.get("keys") if isinstance(document, Mapping) else document
    if not isinstance(listed, list) or len(listed) > MAX_KEYS:
        raise ReceiptRefused("There is no list of keys.")
    keys = [_key(each, at) for at, each in enumerate(listed)]
    return {key.key_id: key for key in keys}


def _key(jwk: object, at: int) -> RingKey:
    if not isinstance(jwk, Mapping):
        raise ReceiptRefused(f"keys[{at}] is no JSON object.")
    key_id, owner = jwk.get("kid"), jwk.get("owner")
    if not isinstance(key_id, str) or not isinstance(owner, str):
        raise ReceiptRefused(f"keys[{at}] lacks a kid or an owner that is a text.")
    try:
        public_key = public_key_of(jwk)
    except ValueError as error:
        raise ReceiptRefused(f"keys[{at}] is no Ed25519 public key: {error}.") from error
    if key_id != key_id_of(public_key):
        raise ReceiptRefused(f"keys[{at}]: the kid {key_id} is not the thumbprint of its key.")
    return RingKey(key_id, public_key, owner)
