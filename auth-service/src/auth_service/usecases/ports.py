"""What the use cases need from the outside, in their own words."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from auth_service.domain.api_key import ApiKey
from auth_service.domain.audit import AuditEntry
from auth_service.domain.denial import Denial
from auth_service.domain.project import Membership, Project
from auth_service.domain.session import Session
from auth_service.domain.team import Team, TeamMembership
from auth_service.domain.user import User
from service_kit.schedule import ScheduledTask, TaskStatus


class Users(Protocol):
    async def add(self, user: User) -> None:
        """Store a new user.

        Raises:
            EmailTaken: Somebody has the address, in its canonical form.
            UsernameTaken: Somebody has the username, in its canonical form.
        """
        ...

    async def find(self, user_id: str) -> User | None: ...

    async def find_by_identifier(self, identifier: str) -> User | None:
        """Return the user with that canonical username or e-mail address."""
        ...

    async def record_login(self, user_id: str, at: datetime) -> None: ...

    async def recount_sessions(self, now: datetime, *, after: str | None, limit: int) -> str | None:
        """Store with the next users, by their ids, how many of their sessions are active.

        Return the id of the last one, to go on after, or `None` where none was left.
        """
        ...

    async def has_administrator(self) -> bool:
        """Tell whether there is one. Nobody else can ask until this transaction ends."""
        ...


class Sessions(Protocol):
    async def add(self, session: Session) -> None: ...

    async def find_for_update(self, session_id: str) -> Session | None: ...

    async def save(self, session: Session) -> None: ...

    async def count_active(self, user_id: str, now: datetime) -> int: ...

    async def delete_expired(self, now: datetime, limit: int) -> int:
        """Delete sessions past their end, but none that is being refreshed; return how many."""
        ...


class Projects(Protocol):
    """Projects and their members. Archived projects are not found here."""

    async def add_owned(self, project: Project) -> Project:
        """Store a project and its owner's membership, and return it as stored.

        Where a project of the owner's has the `request_id`, nothing is stored
        and that project is returned.
        """
        ...

    async def find_membership(self, user_id: str, project_id: str) -> Membership | None: ...

    async def find_default_membership(self, user_id: str) -> Membership | None:
        """Return the user's part in their default project."""
        ...

    async def find_for_update(self, project_id: str) -> Project | None: ...

    async def save(self, project: Project) -> None: ...

    async def list_of_member(
        self, user_id: str, *, after: tuple[datetime, str] | None, limit: int
    ) -> Sequence[Project]:
        """Return the user's projects after a (created_at, project_id), oldest first."""
        ...

    async def list_member_ids(self, project_id: str) -> Sequence[str]:
        """Return the users who have a part in a project."""
        ...


class Teams(Protocol):
    """Teams and their members."""

    async def add_owned(self, team: Team) -> Team:
        """Store a team and its owner's membership, and return it as stored.

        Where a team of the owner's has the `request_id`, nothing is stored and
        that team is returned.
        """
        ...

    async def find_membership(self, user_id: str, team_id: str) -> TeamMembership | None: ...

    async def list_of_member(
        self, user_id: str, *, after: tuple[datetime, str] | None, limit: int
    ) -> Sequence[TeamMembership]:
        """Return the user's parts in teams after a (created_at, team_id), oldest team first."""
        ...


class ApiKeys(Protocol):
    async def add(self, key: ApiKey, secret_hash: bytes) -> ApiKey:
        """Store a key and return it as stored.

        Where the user's `request_id` was seen before, nothing is stored and
        the key made first is returned.
        """
        ...

    async def find(self, key_id: str) -> ApiKey | None:
        """Return the key, also one that was deleted."""
        ...

    async def find_by_hash(self, secret_hash: bytes) -> ApiKey | None: ...

    async def record_use(self, key_id: str, at: datetime) -> None: ...

    async def list_of_project_for_update(self, project_id: str) -> Sequence[ApiKey]:
        """Return the keys of a project that were not deleted."""
        ...

    async def save(self, key: ApiKey) -> None: ...


class Denials(Protocol):
    async def add(self, denial: Denial) -> None:
        """Store a denial; sequences become visible in their order, none later than a higher one."""
        ...

    async def list_after(self, sequence: int, now: datetime, limit: int) -> Sequence[Denial]:
        """Return the denials after a sequence that have not expired, in order."""
        ...

    async def delete_expired(self, before: datetime, limit: int) -> int:
        """Delete up to `limit` denials that had expired by then, and return how many."""
        ...


class Audit(Protocol):
    async def add(self, entry: AuditEntry) -> None: ...

    async def archive(self, older_than: datetime, limit: int) -> int:
        """Move the oldest entries from before a moment to the archive, and return how many."""
        ...


class UnitOfWork(Protocol):
    """One database transaction. Leaving it without an error commits."""

    @property
    def users(self) -> Users: ...

    @property
    def sessions(self) -> Sessions: ...

    @property
    def projects(self) -> Projects: ...

    @property
    def teams(self) -> Teams: ...

    @property
    def api_keys(self) -> ApiKeys: ...

    @property
    def denials(self) -> Denials: ...

    @property
    def audit(self) -> Audit: ...


class UnitOfWorkFactory(Protocol):
    def __call__(self) -> AbstractAsyncContextManager[UnitOfWork]: ...


class PasswordHasher(Protocol):
    async def hash(self, password: str) -> str: ...

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Tell whether the password is the one that was hashed.

        Without a hash this takes the same work and time, and says no.
        """
        ...


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A signed token and the end of its life."""

    text: str = field(repr=False)
    expires_at: datetime


class TokenSigner(Protocol):
    def access_token(self, user: User, session_id: str, now: datetime) -> IssuedToken:
        """Return a token for a person at the edge."""
        ...

    def internal_token(self, key: ApiKey, owner: User, now: datetime) -> IssuedToken:
        """Return a token for an API key, between services only, for a minute at most."""
        ...


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The public half of a key that signs tokens."""

    kid: str
    public_bytes: bytes
    created_at: datetime


class ScheduledRuns(Protocol):
    async def statuses(self, tasks: Sequence[ScheduledTask]) -> Sequence[TaskStatus]:
        """Return what there is to know of these tasks, in their order."""
        ...


class SigningKeys(Protocol):
    def list_public(self) -> Sequence[SigningKey]:
        """Return the keys of which tokens may still be alive, newest first."""
        ...
