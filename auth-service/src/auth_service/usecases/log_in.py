"""Log somebody in by name and password."""

from __future__ import annotations

from dataclasses import dataclass, replace

from auth_service.domain.audit import AuditAction, AuditEntry
from auth_service.domain.errors import CredentialsRefused
from auth_service.domain.identifiers import login_identifier
from auth_service.domain.password_policy import is_too_long
from auth_service.domain.user import Account, User
from auth_service.usecases.load_account import load_account
from auth_service.usecases.open_session import OpenSession, TokenPair
from auth_service.usecases.ports import PasswordHasher, UnitOfWorkFactory
from service_kit.clock import Clock


@dataclass(frozen=True, slots=True)
class LogIn:
    """Opens a session for a username or e-mail address and a password.

    An unknown name costs the same work as a wrong password and reads the
    same, so that nobody learns who has an account here.
    """

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    hasher: PasswordHasher
    open_session: OpenSession

    async def __call__(self, identifier: str, password: str) -> tuple[Account, TokenPair]:
        """Return the account and the tokens of its new session.

        Raises:
            CredentialsRefused: No such user, or another password.
        """
        user = await self._find(identifier)
        if not await self._matches(user, password):
            await self._record_failure(user)
            raise CredentialsRefused()
        assert user is not None
        now = self.clock.now()
        user = replace(user, last_login_at=now)
        async with self.unit_of_work() as work:
            await work.users.record_login(user.user_id, now)
            tokens = await self.open_session(work, user, now)
            await work.audit.add(AuditEntry(AuditAction.LOGIN_SUCCEEDED, now, user.user_id))
            account = await load_account(work, user, now)
        return account, tokens

    async def _find(self, identifier: str) -> User | None:
        async with self.unit_of_work() as work:
            # A name that nobody can have is asked for too: it costs the same time.
            return await work.users.find_by_identifier(login_identifier(identifier) or "")

    async def _matches(self, user: User | None, password: str) -> bool:
        if is_too_long(password):
            return await self.hasher.verify(None, "")
        return await self.hasher.verify(user.password_hash if user else None, password)

    async def _record_failure(self, user: User | None) -> None:
        # What was typed is not written down: it may be a password in the wrong field.
        entry = AuditEntry(
            AuditAction.LOGIN_FAILED, self.clock.now(), user.user_id if user else None
        )
        async with self.unit_of_work() as work:
            await work.audit.add(entry)
