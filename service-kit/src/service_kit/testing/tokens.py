"""Signs tokens as auth-service does, and answers as its key source."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from service_kit.clock import Clock, SystemClock
from service_kit.errors import Unavailable
from service_kit.ids import new_id
from service_kit.tokens import Denial, PublicKey, TokenVerifier


class TestIssuer:
    """A signing key with a `KeySource` for it.

    Args:
        issuer: The `iss` of its tokens.
        clock: Who tells the time.
        kid: The name of its key.
    """

    __test__ = False

    def __init__(
        self, issuer: str = "weir", *, clock: Clock | None = None, kid: str = "test-key-1"
    ) -> None:
        self.issuer = issuer
        self.clock: Clock = clock or SystemClock()
        self.kid = kid
        self.private_key = Ed25519PrivateKey.generate()
        self.keys: list[PublicKey] = [self.public_key()]
        self.denials: list[Denial] = []
        self.times_asked = 0
        # Fail every question, as a source that is away does.
        self.unavailable = False
        # How many denials an answer holds.
        self.batch = 1000
        # Answer with every denial, whatever was asked.
        self.repeats = False

    def public_key(self, retired_at: datetime | None = None) -> PublicKey:
        """Return the public half of the current key."""
        raw = self.private_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return PublicKey(self.kid, raw, retired_at)

    def rotate(self, kid: str) -> None:
        """Sign with a new key from now on; the old one stays listed as retired."""
        self.keys = [self.public_key(retired_at=self.clock.now()), *self.keys[1:]]
        self.kid, self.private_key = kid, Ed25519PrivateKey.generate()
        self.keys.insert(0, self.public_key())

    def person_token(self, user_id: str = "user-1", *, role: str = "user", **claims: Any) -> str:
        """Return an access token of a person, as after a login."""
        return self.sign({**self._claims(user_id, role, "weir", 900), "sid": "session-1", **claims})

    def key_token(
        self,
        user_id: str = "user-1",
        *,
        project_id: str = "project-1",
        scope: str = "read inference",
        role: str = "user",
        **claims: Any,
    ) -> str:
        """Return an internal token, as exchanged for an API key."""
        base = self._claims(user_id, role, "weir-internal", 60)
        key = {"key_id": "key-1", "project_id": project_id, "scope": scope}
        return self.sign({**base, **key, **claims})

    def sign(self, claims: Mapping[str, Any], headers: Mapping[str, Any] | None = None) -> str:
        """Sign any claims; a header given as `None` is left out."""
        named = {"typ": "at+jwt", "kid": self.kid, **(headers or {})}
        return jwt.encode(dict(claims), self.private_key, algorithm="EdDSA", headers=named)

    def sign_raw_claims(self, claims: Mapping[str, Any]) -> str:
        """Sign claims that PyJWT would not encode, with the header of a good token."""
        header = {"alg": "EdDSA", "typ": "at+jwt", "kid": self.kid}
        parts = [_base64url(json.dumps(part).encode()) for part in (header, claims)]
        signature = self.private_key.sign(".".join(parts).encode())
        return ".".join([*parts, _base64url(signature)])

    def deny(self, kind: Literal["session", "user", "key", "membership"], subject: str) -> Denial:
        """Deny a subject's tokens from now on, for an hour."""
        now = self.clock.now()
        sequence = len(self.denials) + 1
        denial = Denial(sequence, kind, subject, now, now + timedelta(hours=1))
        self.denials.append(denial)
        return denial

    async def verifier(self, audiences: Sequence[str] = ("weir", "weir-internal")) -> TokenVerifier:
        """Return a verifier of these tokens, loaded and ready."""
        verifier = TokenVerifier(self.issuer, audiences, self, clock=self.clock)
        await verifier.refresh()
        return verifier

    async def list_keys(self) -> list[PublicKey]:
        self.times_asked += 1
        if self.unavailable:
            raise Unavailable("auth-service")
        return list(self.keys)

    async def list_denials(self, after_sequence: int) -> list[Denial]:
        if self.unavailable:
            raise Unavailable("auth-service")
        after = 0 if self.repeats else after_sequence
        return [denial for denial in self.denials if denial.sequence > after][: self.batch]

    def _claims(self, user_id: str, role: str, audience: str, seconds: int) -> dict[str, Any]:
        now = int(self.clock.now().timestamp())
        return {
            "iss": self.issuer,
            "sub": user_id,
            "aud": audience,
            "iat": now,
            "nbf": now,
            "exp": now + seconds,
            "jti": new_id(),
            "role": role,
        }


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
