"""Refresh tokens that can be given out twice and are stored nowhere.

A client that loses our reply comes back with the token before the current one
and must get the *current* one again, not a third. So the current token has to
be known, yet a dump of the database must not hold it. Both hold because a
token is derived: `HMAC-SHA256(secret, seed | session | counter | issued_at)`,
where `secret` is a file outside the database and `seed` is 256 bits of chance
per session inside it. A dump lacks the secret, the secret alone lacks the
seeds; the database keeps the SHA-256 of the current and the previous token.

The text is `wr1_` and base64url of session id, counter, time of issue and the
256-bit proof. Clients treat it as opaque. The first three are no secret; they
are under the proof, so nobody can make up an old token of somebody's session
to have it revoked.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

_PREFIX = "wr1_"
_LAYOUT = struct.Struct(">16sIQ32s")
_TEXT_CHARACTERS = len(_PREFIX) + (_LAYOUT.size * 4 + 2) // 3
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A token as its text says; whether it is genuine is another question."""

    session_id: str
    counter: int
    issued_at: datetime
    proof: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """The token as the client holds it."""
        raw = _LAYOUT.pack(
            uuid.UUID(self.session_id).bytes, self.counter, _micros(self.issued_at), self.proof
        )
        return _PREFIX + base64.urlsafe_b64encode(raw).decode().rstrip("=")

    @property
    def hash(self) -> bytes:
        """What the database keeps of it."""
        return hashlib.sha256(self.text.encode()).digest()


def parse_refresh_token(text: str) -> RefreshToken | None:
    """Return what the text says, or `None` if it is no refresh token at all."""
    if len(text) != _TEXT_CHARACTERS or not text.startswith(_PREFIX):
        return None
    body = text.removeprefix(_PREFIX)
    try:
        raw = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        session, counter, micros, proof = _LAYOUT.unpack(raw)
        issued_at = _EPOCH + timedelta(microseconds=micros)
    except (binascii.Error, ValueError, OverflowError, struct.error):
        return None
    token = RefreshToken(str(uuid.UUID(bytes=session)), counter, issued_at, proof)
    # Base64 has several spellings of the same bytes; only ours is a token.
    return token if token.text == text else None


@dataclass(frozen=True, slots=True)
class RefreshTokenMint:
    """Derives tokens from a secret that never enters the database."""

    secret: bytes = field(repr=False)

    def token(
        self, session_id: str, seed: bytes, counter: int, issued_at: datetime
    ) -> RefreshToken:
        """Return the one token of a session with that counter and time of issue."""
        message = b"weir refresh token 1" + struct.pack(
            ">32s16sIQ", seed, uuid.UUID(session_id).bytes, counter, _micros(issued_at)
        )
        proof = hmac.digest(self.secret, message, "sha256")
        return RefreshToken(session_id, counter, issued_at, proof)

    def made(self, token: RefreshToken, seed: bytes) -> bool:
        """Tell whether the token was derived here for the session with that seed."""
        genuine = self.token(token.session_id, seed, token.counter, token.issued_at)
        return hmac.compare_digest(genuine.proof, token.proof)


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
