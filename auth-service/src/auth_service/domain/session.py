"""A login session: one family of refresh tokens, each replacing the one before."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum, auto

from auth_service.domain.refresh_token import RefreshToken, RefreshTokenMint

# Two tabs that refresh at once, or a reply that got lost, are no theft.
GRACE = timedelta(seconds=10)


class Verdict(Enum):
    """What a presented refresh token means for its session."""

    CURRENT = auto()
    """The newest token: replace it."""
    BEHIND = auto()
    """One behind, or very young: give the newest one again."""
    REUSED = auto()
    """An old token of ours came back: somebody copied it. The session ends."""
    REFUSED = auto()
    """Not ours, or the session is over: nothing happens."""


@dataclass(frozen=True, slots=True)
class Session:
    """A family of refresh tokens. `counter` counts rotations; times are UTC."""

    session_id: str
    user_id: str
    seed: bytes = field(repr=False)
    counter: int
    token_hash: bytes = field(repr=False)
    previous_token_hash: bytes | None = field(repr=False)
    created_at: datetime
    rotated_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None

    @classmethod
    def opened(
        cls, session_id: str, user_id: str, mint: RefreshTokenMint, now: datetime, life: timedelta
    ) -> Session:
        """Return a new session; its first token is `current_token`."""
        seed = secrets.token_bytes(32)
        return cls(
            session_id=session_id,
            user_id=user_id,
            seed=seed,
            counter=0,
            token_hash=mint.token(session_id, seed, 0, now).hash,
            previous_token_hash=None,
            created_at=now,
            rotated_at=now,
            expires_at=now + life,
        )

    def is_active(self, now: datetime) -> bool:
        """Tell whether this session could still be refreshed."""
        return self.revoked_at is None and now < self.expires_at

    def judge(self, token: RefreshToken, mint: RefreshTokenMint, now: datetime) -> Verdict:
        """Say what it means that this token was presented."""
        if not self.is_active(now):
            return Verdict.REFUSED
        presented = token.hash
        if hmac.compare_digest(presented, self.token_hash):
            return Verdict.CURRENT
        if self.previous_token_hash is not None and hmac.compare_digest(
            presented, self.previous_token_hash
        ):
            return Verdict.BEHIND
        if not mint.made(token, self.seed):
            return Verdict.REFUSED
        return Verdict.BEHIND if now - token.issued_at < GRACE else Verdict.REUSED

    def current_token(self, mint: RefreshTokenMint) -> RefreshToken | None:
        """Return the newest token again, or `None` if it was made with another secret."""
        token = mint.token(self.session_id, self.seed, self.counter, self.rotated_at)
        return token if hmac.compare_digest(token.hash, self.token_hash) else None

    def rotated(self, mint: RefreshTokenMint, now: datetime, life: timedelta) -> Session:
        """Return this session with the next token, which lives that long."""
        counter = self.counter + 1
        return replace(
            self,
            counter=counter,
            token_hash=mint.token(self.session_id, self.seed, counter, now).hash,
            previous_token_hash=self.token_hash,
            rotated_at=now,
            expires_at=now + life,
        )

    def revoked(self, now: datetime) -> Session:
        """Return this session closed; the first time counts."""
        return self if self.revoked_at is not None else replace(self, revoked_at=now)
