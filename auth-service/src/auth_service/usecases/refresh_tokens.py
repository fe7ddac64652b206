"""Exchange a refresh token for new tokens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from auth_service.domain.audit import AuditAction, AuditEntry
from auth_service.domain.denial import DenialKind, deny
from auth_service.domain.errors import RefreshTokenRefused, RefreshTokenReused
from auth_service.domain.refresh_token import RefreshToken, RefreshTokenMint, parse_refresh_token
from auth_service.domain.session import Session, Verdict
from auth_service.usecases.open_session import OpenSession, TokenPair
from auth_service.usecases.ports import UnitOfWork, UnitOfWorkFactory
from service_kit.clock import Clock


@dataclass(frozen=True, slots=True)
class RefreshTokens:
    """Replaces the newest token of a session; see `Session.judge` for the others."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    mint: RefreshTokenMint
    open_session: OpenSession
    access_token_life: timedelta

    async def __call__(self, text: str) -> TokenPair:
        """Return new tokens, or the newest ones again to who is one behind.

        Raises:
            RefreshTokenRefused: Not a token of a session that is open.
            RefreshTokenReused: An old token came back; its session is closed now.
        """
        token = parse_refresh_token(text)
        if token is None:
            raise RefreshTokenRefused()
        async with self.unit_of_work() as work:
            tokens = await self._exchange(work, token)
        # Raised only now, because raising inside would undo the revocation.
        if tokens is None:
            raise RefreshTokenReused()
        return tokens

    async def _exchange(self, work: UnitOfWork, token: RefreshToken) -> TokenPair | None:
        session = await work.sessions.find_for_update(token.session_id)
        # The time is taken with the row in hand: `rotated_at` never goes backwards.
        now = self.clock.now()
        verdict = session.judge(token, self.mint, now) if session else Verdict.REFUSED
        if session is None or verdict is Verdict.REFUSED:
            raise RefreshTokenRefused()
        if verdict is Verdict.REUSED:
            await self._revoke(work, session, now)
            return None
        user = await work.users.find(session.user_id)
        if user is None:
            raise RefreshTokenRefused()
        # A token that was made with an earlier secret can't be given again: make the next one.
        if verdict is Verdict.CURRENT or session.current_token(self.mint) is None:
            session = session.rotated(self.mint, now, self.open_session.session_life)
            await work.sessions.save(session)
        return self.open_session.tokens(session, user, now)

    async def _revoke(self, work: UnitOfWork, session: Session, now: datetime) -> None:
        await work.sessions.save(session.revoked(now))
        await work.denials.add(
            deny(DenialKind.SESSION, session.session_id, now, self.access_token_life)
        )
        await work.audit.add(
            AuditEntry(
                AuditAction.REFRESH_TOKEN_REUSED, now, session.user_id, subject=session.session_id
            )
        )
