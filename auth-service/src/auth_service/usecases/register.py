"""Register a person who comes by themselves."""

from __future__ import annotations

import secrets
import unicodedata
from dataclasses import dataclass, field
from datetime import datetime

from auth_service.domain.audit import AuditAction, AuditEntry
from auth_service.domain.errors import RegistrationClosed, UsernameTaken
from auth_service.domain.identifiers import (
    RESERVED_USERNAMES,
    canonical,
    has_control_characters,
    parse_email,
    parse_username,
    username_from_email,
)
from auth_service.domain.password_policy import PasswordPolicy
from auth_service.domain.user import Account, User, UserRole
from auth_service.usecases.create_account import create_account
from auth_service.usecases.open_session import OpenSession, TokenPair
from auth_service.usecases.ports import PasswordHasher, UnitOfWorkFactory
from service_kit.clock import Clock
from service_kit.errors import InvalidArgument
from service_kit.ids import new_id

FULL_NAME_MAX_CHARACTERS = 200
_GENERATED_NAME_TRIES = 5


@dataclass(frozen=True, slots=True)
class Registration:
    """What a person says of themselves. Without a username one is made from the e-mail."""

    email: str
    password: str = field(repr=False)
    username: str = ""
    full_name: str = ""


@dataclass(frozen=True, slots=True)
class Register:
    """Creates an account with a default project and opens its first session."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    hasher: PasswordHasher
    open_session: OpenSession
    policy: PasswordPolicy
    allowed: bool

    async def __call__(self, registration: Registration) -> tuple[Account, TokenPair]:
        """Store the account and return it with the tokens of its first session.

        Raises:
            RegistrationClosed: This installation lets nobody register.
            InvalidArgument: The e-mail address, username or full name is malformed.
            PasswordRefused: The password breaks a rule.
            EmailTaken: The e-mail address has an account.
            UsernameTaken: The username, which the person chose, has an account.
        """
        if not self.allowed:
            raise RegistrationClosed()
        email = parse_email(registration.email)
        full_name = _parse_full_name(registration.full_name)
        names = _usernames(email, registration.username)
        self.policy.check(
            registration.password, own_names=frozenset({canonical(email), canonical(names[0])})
        )
        password_hash = await self.hasher.hash(registration.password)
        for name in names[:-1]:
            try:
                return await self._create(email, name, full_name, password_hash)
            except UsernameTaken:
                # We chose that name, so we choose another.
                continue
        return await self._create(email, names[-1], full_name, password_hash)

    async def _create(
        self, email: str, username: str, full_name: str, password_hash: str
    ) -> tuple[Account, TokenPair]:
        now = self.clock.now()
        user = _new_user(email, username, full_name, password_hash, now)
        async with self.unit_of_work() as work:
            project = await create_account(work, user, now)
            tokens = await self.open_session(work, user, now)
            await work.audit.add(AuditEntry(AuditAction.USER_REGISTERED, now, user.user_id))
        return Account(user, project.project_id, active_sessions_count=1), tokens


def _new_user(email: str, username: str, full_name: str, password_hash: str, now: datetime) -> User:
    return User(
        user_id=new_id(),
        email=email,
        username=username,
        full_name=full_name,
        password_hash=password_hash,
        role=UserRole.USER,
        created_at=now,
        last_login_at=now,
    )


def _usernames(email: str, chosen: str) -> list[str]:
    """Return the names to try, in order: what the person chose, or names that we make."""
    if chosen:
        name = parse_username(chosen)
        if canonical(name) in RESERVED_USERNAMES:
            raise UsernameTaken()
        return [name]
    suffixes = ["", *(secrets.token_hex(3) for _ in range(_GENERATED_NAME_TRIES))]
    made = (username_from_email(email, suffix) for suffix in suffixes)
    return [name for name in made if name not in RESERVED_USERNAMES]


def _parse_full_name(text: str) -> str:
    name = unicodedata.normalize("NFC", text).strip()
    if len(name) > FULL_NAME_MAX_CHARACTERS or has_control_characters(name):
        raise InvalidArgument(
            "full_name",
            f"A full name has {FULL_NAME_MAX_CHARACTERS} characters at most, "
            "and no control characters.",
        )
    return name
