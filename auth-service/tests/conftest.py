"""Fakes for the ports of auth-service, and the use cases made of them.

`unit_of_work` is what differs: the unit tests' is a fake, the integration tests' is Postgres.
"""

import asyncio
import copy
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from auth_service.adapters.signing_keys import SigningKeyFiles
from auth_service.adapters.token_signer import Ed25519TokenSigner
from auth_service.bootstrap import (
    Parts,
    access_use_cases,
    auth_use_cases,
    membership_use_cases,
    own_tasks,
    own_verifier,
    team_use_cases,
)
from auth_service.domain.api_key import ApiKey
from auth_service.domain.audit import AuditEntry
from auth_service.domain.denial import Denial
from auth_service.domain.errors import EmailTaken, UsernameTaken
from auth_service.domain.identifiers import canonical
from auth_service.domain.permissions import ProjectRole, TeamRole
from auth_service.domain.project import Membership, Project
from auth_service.domain.session import Session
from auth_service.domain.team import Team, TeamMembership
from auth_service.domain.user import ADMINISTRATORS, User
from auth_service.settings import Settings
from auth_service.usecases.list_denials import ListDenials
from auth_service.usecases.register import Registration
from service_kit.request_context import Caller
from service_kit.testing.clock import FixedClock
from service_kit.testing.pki import make_test_pki
from service_kit.testing.runs import MemoryRuns

REFRESH_TOKEN_SECRET = "tests' own refresh secret, 0123456789"
PASSWORD = "correct horse battery"


@dataclass
class FakeDatabase:
    """What the fake repositories share."""

    users: dict[str, User] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    projects: dict[str, Project] = field(default_factory=dict)
    members: dict[tuple[str, str], ProjectRole] = field(default_factory=dict)
    teams: dict[str, Team] = field(default_factory=dict)
    team_members: dict[tuple[str, str], TeamRole] = field(default_factory=dict)
    api_keys: dict[str, ApiKey] = field(default_factory=dict)
    key_hashes: dict[bytes, str] = field(default_factory=dict)
    denials: list[Denial] = field(default_factory=list)
    last_denial: int = 0
    audit: list[AuditEntry] = field(default_factory=list)
    archive: list[AuditEntry] = field(default_factory=list)
    session_counts: dict[str, int] = field(default_factory=dict)


@dataclass
class FakeUsers:
    database: FakeDatabase

    async def add(self, user):
        for other in self.database.users.values():
            if canonical(other.email) == canonical(user.email):
                raise EmailTaken()
        for other in self.database.users.values():
            if canonical(other.username) == canonical(user.username):
                raise UsernameTaken()
        self.database.users[user.user_id] = user

    async def find(self, user_id):
        return self.database.users.get(user_id)

    async def find_by_identifier(self, identifier):
        for user in self.database.users.values():
            if identifier in (canonical(user.email), canonical(user.username)):
                return user
        return None

    async def record_login(self, user_id, at):
        users = self.database.users
        users[user_id] = replace(users[user_id], last_login_at=at)

    async def recount_sessions(self, now, *, after, limit):
        chosen = [one for one in sorted(self.database.users) if after is None or one > after]
        for user_id in chosen[:limit]:
            count = await FakeSessions(self.database).count_active(user_id, now)
            self.database.session_counts[user_id] = count
        return chosen[:limit][-1] if chosen else None

    async def has_administrator(self):
        return any(user.role in ADMINISTRATORS for user in self.database.users.values())


@dataclass
class FakeSessions:
    database: FakeDatabase

    async def add(self, session):
        self.database.sessions[session.session_id] = session

    async def find_for_update(self, session_id):
        return self.database.sessions.get(session_id)

    async def save(self, session):
        self.database.sessions[session.session_id] = session

    async def count_active(self, user_id, now):
        sessions = self.database.sessions.values()
        return sum(one.user_id == user_id and one.is_active(now) for one in sessions)

    async def delete_expired(self, now, limit):
        sessions = self.database.sessions
        expired = [one.session_id for one in sessions.values() if one.expires_at <= now][:limit]
        for session_id in expired:
            del sessions[session_id]
        return len(expired)


@dataclass
class FakeProjects:
    database: FakeDatabase

    async def add_owned(self, project):
        for other in self.database.projects.values():
            if (
                project.request_id is not None
                and other.owner_user_id == project.owner_user_id
                and other.request_id == project.request_id
            ):
                return other
        self.database.projects[project.project_id] = project
        self.database.members[project.project_id, project.owner_user_id] = ProjectRole.OWNER
        return project

    async def find_membership(self, user_id, project_id):
        project = await self.find_for_update(project_id)
        role = self.database.members.get((project_id, user_id))
        return Membership(project, user_id, role) if project and role else None

    async def find_default_membership(self, user_id):
        for project in self.database.projects.values():
            if project.is_default and project.owner_user_id == user_id:
                return await self.find_membership(user_id, project.project_id)
        return None

    async def find_for_update(self, project_id):
        project = self.database.projects.get(project_id)
        return project if project and project.archived_at is None else None

    async def save(self, project):
        self.database.projects[project.project_id] = project

    async def list_of_member(self, user_id, *, after, limit):
        found = [
            project
            for project in self.database.projects.values()
            if project.archived_at is None
            and (project.project_id, user_id) in self.database.members
            and (after is None or (project.created_at, project.project_id) > after)
        ]
        return sorted(found, key=lambda one: (one.created_at, one.project_id))[:limit]

    async def list_member_ids(self, project_id):
        return [user_id for project, user_id in self.database.members if project == project_id]


@dataclass
class FakeTeams:
    database: FakeDatabase

    async def add_owned(self, team):
        for other in self.database.teams.values():
            if (
                team.request_id is not None
                and other.owner_user_id == team.owner_user_id
                and other.request_id == team.request_id
            ):
                return other
        self.database.teams[team.team_id] = team
        self.database.team_members[team.team_id, team.owner_user_id] = TeamRole.OWNER
        return team

    async def find_membership(self, user_id, team_id):
        role = self.database.team_members.get((team_id, user_id))
        return TeamMembership(self.database.teams[team_id], user_id, role) if role else None

    async def list_of_member(self, user_id, *, after, limit):
        found = [
            TeamMembership(self.database.teams[team_id], user_id, role)
            for (team_id, member_id), role in self.database.team_members.items()
            if member_id == user_id
        ]
        places = {(one.team.created_at, one.team.team_id): one for one in found}
        return [places[place] for place in sorted(places) if after is None or place > after][:limit]


@dataclass
class FakeApiKeys:
    database: FakeDatabase

    async def add(self, key, secret_hash):
        for other in self.database.api_keys.values():
            if (
                key.request_id is not None
                and other.user_id == key.user_id
                and other.request_id == key.request_id
            ):
                return other
        self.database.api_keys[key.key_id] = key
        self.database.key_hashes[secret_hash] = key.key_id
        return key

    async def find(self, key_id):
        return self.database.api_keys.get(key_id)

    async def find_by_hash(self, secret_hash):
        return self.database.api_keys.get(self.database.key_hashes.get(secret_hash, ""))

    async def record_use(self, key_id, at):
        keys = self.database.api_keys
        keys[key_id] = replace(keys[key_id], last_used_at=at)

    async def list_of_project_for_update(self, project_id):
        keys = self.database.api_keys.values()
        return [one for one in keys if one.project_id == project_id and one.deleted_at is None]

    async def save(self, key):
        self.database.api_keys[key.key_id] = key


@dataclass
class FakeDenials:
    database: FakeDatabase

    async def add(self, denial):
        self.database.last_denial += 1
        self.database.denials.append(replace(denial, sequence=self.database.last_denial))

    async def list_after(self, sequence, now, limit):
        found = [
            one for one in self.database.denials if one.sequence > sequence and one.expires_at > now
        ]
        return found[:limit]

    async def delete_expired(self, before, limit):
        expired = [one for one in self.database.denials if one.expires_at <= before][:limit]
        self.database.denials = [one for one in self.database.denials if one not in expired]
        return len(expired)


@dataclass
class FakeAudit:
    database: FakeDatabase

    async def add(self, entry):
        self.database.audit.append(entry)

    async def archive(self, older_than, limit):
        old = [one for one in self.database.audit if one.occurred_at < older_than]
        moved = sorted(old, key=lambda one: one.occurred_at)[:limit]
        for entry in moved:
            self.database.audit.remove(entry)
        self.database.archive.extend(moved)
        return len(moved)


class FakeUnitOfWork:
    """One transaction at a time, undone by an error, as far as a caller can see."""

    def __init__(self):
        self.database = FakeDatabase()
        self.transactions = 0
        self._one_at_a_time = asyncio.Lock()

    @asynccontextmanager
    async def __call__(self):
        async with self._one_at_a_time:
            self.transactions += 1
            draft = copy.copy(self.database)
            for name, value in vars(self.database).items():
                setattr(draft, name, copy.copy(value))
            yield SimpleNamespace(
                users=FakeUsers(draft),
                sessions=FakeSessions(draft),
                projects=FakeProjects(draft),
                teams=FakeTeams(draft),
                api_keys=FakeApiKeys(draft),
                denials=FakeDenials(draft),
                audit=FakeAudit(draft),
            )
            self.database = draft


class FakeHasher:
    """Counts its work, which the real one takes long for."""

    def __init__(self):
        self.worked_on = []

    async def hash(self, password):
        self.worked_on.append(password)
        return f"hash of {password}"

    async def verify(self, password_hash, password):
        self.worked_on.append(password)
        return password_hash == f"hash of {password}"


@dataclass
class World:
    """The use cases over one database, with short ways to begin."""

    parts: Parts
    settings: Settings
    clock: FixedClock

    def __post_init__(self):
        self.auth = auth_use_cases(self.settings, self.parts)
        self.access = access_use_cases(self.settings, self.parts)
        self.teams = team_use_cases(self.parts)
        membership = membership_use_cases(self.parts)
        self.check_access = membership.check_access
        self.check_team_access = membership.check_team_access
        self.check_key_access = membership.check_key_access
        self.tasks = {task.name: task for task in own_tasks(self.settings, self.parts)}
        self.list_denials = ListDenials(self.parts.unit_of_work, self.parts.clock)

    async def registered(self, email="ann@example.org", **given):
        """Register somebody and return the account and the tokens."""
        return await self.auth.register(Registration(email=email, password=PASSWORD, **given))

    async def person(self, email="ann@example.org"):
        """Register somebody and return them as a caller."""
        account, _ = await self.registered(email)
        return a_person(account.user.user_id)

    async def project(self, caller, name="Research", request_id="", team_id=""):
        """Create a project and return it."""
        return (await self.access.create_project(caller, name, request_id, team_id)).project

    async def team(self, caller, name="Weather", request_id=""):
        """Create a team and return it."""
        return (await self.teams.create_team(caller, name, request_id)).membership.team

    async def verifier(self):
        verifier = own_verifier(self.settings.auth_issuer, self.parts)
        await verifier.refresh()
        return verifier

    async def key_caller(self, secret):
        """Exchange an API key and return the caller that its token speaks for."""
        token = await self.access.exchange_api_key(secret)
        return await (await self.verifier()).verify(token.text)


def a_person(user_id):
    return Caller(user_id, "person", "user", session_id="s1")


def write_signing_key(directory, kid, modified_at=None):
    """Write a new private key as the launcher does."""
    path = directory / f"{kid}.pem"
    path.touch(mode=0o600)
    key = Ed25519PrivateKey.generate()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    if modified_at is not None:
        os.utime(path, (modified_at, modified_at))
    return key


@pytest.fixture
def new_signing_key():
    return write_signing_key


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    services = ["gateway", "auth-service", "job-service", "cost-service", "compute-router"]
    return make_test_pki(tmp_path_factory.mktemp("pki"), services)


@pytest.fixture
def signing_keys_dir(tmp_path):
    directory = tmp_path / "signing-keys"
    directory.mkdir()
    write_signing_key(directory, "k1")
    return directory


@pytest.fixture
def clock():
    return FixedClock()


@pytest.fixture
def hasher():
    return FakeHasher()


@pytest.fixture
def runs(clock):
    return MemoryRuns(clock)


@pytest.fixture
def fake_unit_of_work():
    return FakeUnitOfWork()


@pytest.fixture
def make_settings(pki, signing_keys_dir):
    def make(**given):
        tls = pki["auth-service"]
        values = {
            "environment": "test",
            "tls_ca_file": tls.ca_file,
            "tls_cert_file": tls.cert_file,
            "tls_key_file": tls.key_file,
            "database_url": "postgresql://auth_service:pw@127.0.0.1:1/none",
            "signing_keys_dir": signing_keys_dir,
            "refresh_token_secret": REFRESH_TOKEN_SECRET,
        }
        return Settings(**{**values, **given})

    return make


@pytest.fixture
def make_world(unit_of_work, clock, hasher, runs, make_settings):
    def make(**given):
        settings = make_settings(**given)
        keys = SigningKeyFiles(settings.signing_keys_dir)
        parts = Parts(
            unit_of_work=unit_of_work,
            clock=clock,
            hasher=hasher,
            signer=Ed25519TokenSigner(keys, settings.auth_issuer, settings.access_token_life),
            signing_keys=keys,
            runs=runs,
        )
        return World(parts, settings, clock)

    return make


@pytest.fixture
def world(make_world):
    return make_world()


@pytest.fixture
def password():
    return PASSWORD


@pytest.fixture
def start() -> datetime:
    """Where the tests' clock starts."""
    return FixedClock().now()
