"""Open a login session, inside the transaction of a registration or a login."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from auth_service.domain.refresh_token import RefreshTokenMint
from auth_service.domain.session import Session
from auth_service.domain.user import User
from auth_service.usecases.ports import TokenSigner, UnitOfWork
from service_kit.ids import new_id


@dataclass(frozen=True, slots=True)
class TokenPair:
    """Tokens of one session; `access_token_seconds` is the life of the first."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    access_token_seconds: int


@dataclass(frozen=True, slots=True)
class OpenSession:
    """Opens sessions; not a transaction of its own."""

    mint: RefreshTokenMint
    signer: TokenSigner
    session_life: timedelta

    async def __call__(self, work: UnitOfWork, user: User, now: datetime) -> TokenPair:
        """Store a new session of the user and return its first tokens."""
        session = Session.opened(new_id(), user.user_id, self.mint, now, self.session_life)
        await work.sessions.add(session)
        return self.tokens(session, user, now)

    def tokens(self, session: Session, user: User, now: datetime) -> TokenPair:
        """Return the session's newest refresh token with a fresh access token."""
        refresh_token = session.current_token(self.mint)
        if refresh_token is None:
            raise ValueError("the session was not rotated with this secret")
        access_token = self.signer.access_token(user, session.session_id, now)
        return TokenPair(
            access_token=access_token.text,
            refresh_token=refresh_token.text,
            access_token_seconds=math.ceil((access_token.expires_at - now).total_seconds()),
        )
