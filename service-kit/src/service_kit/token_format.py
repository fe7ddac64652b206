"""The form of an access token, read strictly.

PyJWT alone accepts a missing `typ`, a string `exp`, any `kid` and duplicate
keys. Here the header holds `alg`, `typ` and `kid` and nothing else, so no
`jku`, `x5u`, `jwk`, `x5c` or `crit` is ever looked at.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from service_kit.errors import Unauthenticated
from service_kit.request_context import Caller

MAX_TOKEN_BYTES: Final = 8 * 1024
ALGORITHM: Final = "EdDSA"
TYPE: Final = "at+jwt"

_FORM: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_KID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_jws: Final = jwt.PyJWS(algorithms=[ALGORITHM])


@dataclass(frozen=True, slots=True)
class Header:
    """What is left of a token's header: which key it names."""

    kid: str


@dataclass(frozen=True, slots=True)
class Claims:
    """A token whose signature and form are good. Its times and denials change; check them."""

    caller: Caller
    issued_at: int
    not_before: int
    expires_at: int

    def check_times(self, now: float, leeway_seconds: float) -> None:
        """Raise `Unauthenticated` unless the token is valid at `now`, in epoch seconds."""
        if self.expires_at + leeway_seconds <= now:
            raise Unauthenticated("TOKEN_EXPIRED", "The token has expired.")
        if max(self.not_before, self.issued_at) - leeway_seconds > now:
            _refuse("The token is not valid yet.")


def read_header(token: str) -> Header:
    """Return the header of a token that has the right size and form.

    Raises:
        Unauthenticated: It is no token of ours (`TOKEN_INVALID`).
    """
    if len(token) > MAX_TOKEN_BYTES or not _FORM.fullmatch(token):
        _refuse()
    segments = token.split(".")
    decoded = [_decode(segment) for segment in segments]
    header = _read_object(decoded[0])
    if set(header) != {"alg", "typ", "kid"}:
        _refuse()
    if header["alg"] != ALGORITHM or header["typ"] != TYPE:
        _refuse()
    kid = header["kid"]
    if not isinstance(kid, str) or not _KID.fullmatch(kid):
        _refuse()
    return Header(kid)


def check_signature(token: str, key: Ed25519PublicKey) -> bytes:
    """Return the payload that the key signed."""
    try:
        payload = _jws.decode(token, key, algorithms=[ALGORITHM])
    except jwt.PyJWTError as error:
        raise Unauthenticated("TOKEN_INVALID", "The token is not valid.") from error
    return payload if isinstance(payload, bytes) else str(payload).encode()


def read_claims(payload: bytes, token: str, *, issuer: str, audiences: Collection[str]) -> Claims:
    """Return what a signed payload says, if every claim has its exact type.

    Raises:
        Unauthenticated: A claim is missing, of a wrong type, or not meant for us.
    """
    claims = _read_object(payload)
    audience = claims.get("aud")
    if claims.get("iss") != issuer or not isinstance(audience, str) or audience not in audiences:
        _refuse()
    issued_at, expires_at = _whole(claims, "iat"), _whole(claims, "exp")
    not_before = _whole(claims, "nbf") if "nbf" in claims else issued_at
    if expires_at <= issued_at:
        _refuse()
    if "jti" in claims:
        _text(claims, "jti")
    return Claims(_read_caller(claims, token, expires_at), issued_at, not_before, expires_at)


def _read_caller(claims: dict[str, Any], token: str, expires_at: int) -> Caller:
    user_id, role = _text(claims, "sub"), _text(claims, "role")
    if ("sid" in claims) == ("key_id" in claims):
        _refuse()
    if "sid" in claims:
        return Caller(
            user_id,
            "person",
            role,
            session_id=_text(claims, "sid"),
            token=token,
            expires_at=expires_at,
        )
    return Caller(
        user_id,
        "api_key",
        role,
        key_id=_text(claims, "key_id"),
        project_id=_text(claims, "project_id"),
        scopes=frozenset(_text(claims, "scope").split(" ")),
        token=token,
        expires_at=expires_at,
    )


def _text(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        _refuse()
    return value


def _whole(claims: dict[str, Any], name: str) -> int:
    value = claims.get(name)
    # bool is an int in Python, and `true` is no time.
    if type(value) is not int or not 0 <= value < 2**53:
        _refuse()
    return value


def _decode(segment: str) -> bytes:
    """Decode base64url, refusing every spelling but the canonical one."""
    try:
        raw = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except binascii.Error:
        _refuse()
    if base64.urlsafe_b64encode(raw).rstrip(b"=") != segment.encode():
        _refuse()
    return raw


def _read_object(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_without_duplicates, parse_constant=_constant
        )
    except (ValueError, RecursionError):
        _refuse()
    if not isinstance(value, dict):
        _refuse()
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate key")
    return found


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _refuse(message: str = "The token is not valid.") -> NoReturn:
    raise Unauthenticated("TOKEN_INVALID", message)
