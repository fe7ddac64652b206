"""What every implementation of the repositories keeps, the fakes and Postgres alike."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from auth_service.domain.api_key import ApiKey
from auth_service.domain.audit import AuditAction, AuditEntry
from auth_service.domain.denial import DenialKind, deny
from auth_service.domain.errors import EmailTaken, UsernameTaken
from auth_service.domain.permissions import ApiKeyScope, ProjectRole, TeamRole
from auth_service.domain.project import Project
from auth_service.domain.refresh_token import RefreshTokenMint
from auth_service.domain.session import Session
from auth_service.domain.team import Team, TeamMembership
from auth_service.domain.user import User, UserRole
from service_kit.ids import new_id

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
LIFE = timedelta(days=7)
UNKNOWN_ID = "00000000-0000-7000-8000-000000000000"
MINT = RefreshTokenMint(b"one secret of thirty-two characters")


@pytest.fixture(params=["fake", "postgres"])
def unit_of_work(request):
    """Each implementation in turn."""
    return request.getfixturevalue(
        "fake_unit_of_work" if request.param == "fake" else "postgres_unit_of_work"
    )


def a_user(name="ann", **changes):
    user = User(
        user_id=new_id(),
        email=f"{name}@Example.org",
        username=name.title(),
        full_name="Ann",
        password_hash="hash",
        role=UserRole.USER,
        created_at=NOW,
    )
    return replace(user, **changes)


def a_project(owner, **changes):
    project = Project(new_id(), "Research", owner.user_id, is_default=False, created_at=NOW)
    return replace(project, **changes)


def a_team(owner, **changes):
    return replace(Team(new_id(), "Weather", owner.user_id, created_at=NOW), **changes)


def a_key(owner, project, **changes):
    key = ApiKey(
        key_id=new_id(),
        user_id=owner.user_id,
        project_id=project.project_id,
        name="ci",
        prefix="sk-abc",
        scopes=(ApiKeyScope.READ, ApiKeyScope.INFERENCE),
        created_at=NOW,
    )
    return replace(key, **changes)


async def stored(unit_of_work, name="ann", **changes):
    """Store a user with a default project, and return both."""
    user = a_user(name, **changes)
    project = a_project(user, is_default=True)
    async with unit_of_work() as work:
        await work.users.add(user)
        await work.projects.add_owned(project)
    return user, project


class TestUsers:
    async def test_a_user_comes_back_whole(self, unit_of_work):
        """By id, by either canonical name, with every field."""
        user, _ = await stored(unit_of_work, last_login_at=NOW, role=UserRole.DEVELOPER)

        async with unit_of_work() as work:
            assert await work.users.find(user.user_id) == user
            assert await work.users.find_by_identifier("ann") == user
            assert await work.users.find_by_identifier("ann@example.org") == user

    @pytest.mark.parametrize(
        "unknown", ["", "x", "ann\x01", "00000000-0000-7000-8000-000000000000"]
    )
    async def test_nobody_is_found_by_another_name(self, unit_of_work, unknown):
        """Whatever is asked for, there is an answer and no error."""
        await stored(unit_of_work)

        async with unit_of_work() as work:
            assert await work.users.find(unknown) is None
            assert await work.users.find_by_identifier(unknown) is None

    async def test_names_are_taken_in_canonical_form(self, unit_of_work):
        """And the transaction stays usable after the refusal."""
        await stored(unit_of_work)

        async with unit_of_work() as work:
            with pytest.raises(EmailTaken):
                await work.users.add(a_user("other", email="ANN@example.ORG"))
            with pytest.raises(UsernameTaken):
                await work.users.add(a_user("other", username="ANN"))
            with pytest.raises(EmailTaken):
                await work.users.add(a_user("ann"))
            await work.users.add(a_user("other"))

    async def test_a_login_is_remembered(self, unit_of_work):
        """The latest time counts."""
        user, _ = await stored(unit_of_work)

        async with unit_of_work() as work:
            await work.users.record_login(user.user_id, NOW)
            assert await work.users.find(user.user_id) == replace(user, last_login_at=NOW)

    @pytest.mark.parametrize("role", UserRole)
    async def test_administrators_are_of_two_tiers(self, unit_of_work, role):
        """admin and super_admin administer; nobody below does."""
        await stored(unit_of_work, role=role)

        async with unit_of_work() as work:
            found = await work.users.has_administrator()
        assert found == (role in (UserRole.ADMIN, UserRole.SUPER_ADMIN))


class TestSessions:
    async def test_a_session_comes_back_whole(self, unit_of_work):
        """Also after it was rotated and revoked."""
        user, _ = await stored(unit_of_work)
        session = Session.opened(new_id(), user.user_id, MINT, NOW, LIFE)
        changed = session.rotated(MINT, NOW + timedelta(hours=1), LIFE).revoked(NOW)

        async with unit_of_work() as work:
            await work.sessions.add(session)
            assert await work.sessions.find_for_update(session.session_id) == session
            await work.sessions.save(changed)
        async with unit_of_work() as work:
            assert await work.sessions.find_for_update(session.session_id) == changed
            assert await work.sessions.find_for_update(new_id()) is None
            assert await work.sessions.find_for_update("no-uuid") is None

    async def test_active_sessions_are_counted(self, unit_of_work):
        """Neither the revoked, nor the expired, nor other people's."""
        user, _ = await stored(unit_of_work)
        other, _ = await stored(unit_of_work, "ben")
        async with unit_of_work() as work:
            for owner in (user, user, other):
                session = Session.opened(new_id(), owner.user_id, MINT, NOW, LIFE)
                await work.sessions.add(session)
            await work.sessions.add(
                Session.opened(new_id(), user.user_id, MINT, NOW, LIFE).revoked(NOW)
            )
            assert await work.sessions.count_active(user.user_id, NOW) == 2
            assert await work.sessions.count_active(user.user_id, NOW + LIFE) == 0

    async def test_sessions_past_their_end_are_deleted(self, unit_of_work):
        """A few at a time, revoked or not; the others stay, to the last moment of their life."""
        user, _ = await stored(unit_of_work)
        end = NOW + LIFE
        over = [Session.opened(new_id(), user.user_id, MINT, NOW, LIFE) for _ in range(3)]
        over[0] = over[0].revoked(NOW)
        alive = Session.opened(new_id(), user.user_id, MINT, NOW + timedelta(microseconds=1), LIFE)
        async with unit_of_work() as work:
            for session in (*over, alive):
                await work.sessions.add(session)
        counts = []
        for _ in range(3):
            async with unit_of_work() as work:
                counts.append(await work.sessions.delete_expired(end, 2))

        assert counts == [2, 1, 0]
        async with unit_of_work() as work:
            assert await work.sessions.find_for_update(alive.session_id) == alive
            for session in over:
                assert await work.sessions.find_for_update(session.session_id) is None


class TestProjects:
    async def test_a_project_comes_back_whole(self, unit_of_work):
        """To its owner, as owner; and to nobody else."""
        user, default = await stored(unit_of_work)
        other, _ = await stored(unit_of_work, "ben")
        project = a_project(user, request_id="r1")

        async with unit_of_work() as work:
            assert await work.projects.add_owned(project) == project
            found = await work.projects.find_membership(user.user_id, project.project_id)
            assert (found.project, found.role) == (project, ProjectRole.OWNER)
            assert await work.projects.find_for_update(project.project_id) == project
            assert await work.projects.list_member_ids(project.project_id) == [user.user_id]
            assert await work.projects.find_membership(other.user_id, project.project_id) is None
            found = await work.projects.find_default_membership(user.user_id)
            assert found.project == default

    @pytest.mark.parametrize("bad", ["", "x", "a\x01"])
    async def test_malformed_ids_are_absent(self, unit_of_work, bad):
        """No error, no project."""
        user, project = await stored(unit_of_work)

        async with unit_of_work() as work:
            assert await work.projects.find_membership(user.user_id, bad) is None
            assert await work.projects.find_membership(bad, project.project_id) is None
            assert await work.projects.find_default_membership(bad) is None
            assert await work.projects.find_for_update(bad) is None

    async def test_a_request_id_makes_one_project(self, unit_of_work):
        """Per owner; without a request id every creation is a new one."""
        user, _ = await stored(unit_of_work)
        other, _ = await stored(unit_of_work, "ben")
        first = a_project(user, request_id="r1")

        async with unit_of_work() as work:
            await work.projects.add_owned(first)
            assert await work.projects.add_owned(a_project(user, request_id="r1")) == first
            theirs = a_project(other, request_id="r1")
            assert await work.projects.add_owned(theirs) == theirs
            for plain in (a_project(user), a_project(user)):
                assert await work.projects.add_owned(plain) == plain

    async def test_an_archived_project_is_not_found(self, unit_of_work):
        """By none of the ways to find one."""
        user, default = await stored(unit_of_work)
        project = a_project(user)

        async with unit_of_work() as work:
            await work.projects.add_owned(project)
            await work.projects.save(project.archived(NOW))
            assert await work.projects.find_membership(user.user_id, project.project_id) is None
            assert await work.projects.find_for_update(project.project_id) is None
            found = await work.projects.list_of_member(user.user_id, after=None, limit=10)
            assert found == [default]

    async def test_an_archived_project_frees_its_request_id(self, unit_of_work):
        """The next project of that request is stored, and found by the one after."""
        user, _ = await stored(unit_of_work)
        first, second = (a_project(user, request_id="r1") for _ in range(2))

        async with unit_of_work() as work:
            await work.projects.add_owned(first)
            await work.projects.save(first.archived(NOW))
        async with unit_of_work() as work:
            assert await work.projects.add_owned(second) == second
            assert await work.projects.add_owned(a_project(user, request_id="r1")) == second
            found = await work.projects.find_membership(user.user_id, second.project_id)
            assert found.role is ProjectRole.OWNER

    async def test_pages_are_oldest_first(self, unit_of_work):
        """Projects of the same moment are in the order of their ids."""
        user, default = await stored(unit_of_work)
        later = [a_project(user, created_at=NOW + timedelta(days=day)) for day in (2, 1, 1)]
        async with unit_of_work() as work:
            for project in later:
                await work.projects.add_owned(project)
        expected = [default, *sorted(later, key=lambda one: (one.created_at, one.project_id))]

        async with unit_of_work() as work:
            first = await work.projects.list_of_member(user.user_id, after=None, limit=2)
            after = (first[-1].created_at, first[-1].project_id)
            rest = await work.projects.list_of_member(user.user_id, after=after, limit=10)
        assert [*first, *rest] == expected


class TestTeams:
    async def test_a_team_comes_back_whole(self, unit_of_work):
        """To its owner, as owner; and to nobody else."""
        user, _ = await stored(unit_of_work)
        other, _ = await stored(unit_of_work, "ben")
        team = a_team(user, request_id="r1")

        async with unit_of_work() as work:
            assert await work.teams.add_owned(team) == team
        async with unit_of_work() as work:
            found = await work.teams.find_membership(user.user_id, team.team_id)
            assert found == TeamMembership(team, user.user_id, TeamRole.OWNER)
            assert await work.teams.find_membership(other.user_id, team.team_id) is None
            assert await work.teams.list_of_member(other.user_id, after=None, limit=10) == []

    @pytest.mark.parametrize("bad", ["", "x", "a\x01", UNKNOWN_ID])
    async def test_made_up_ids_are_absent(self, unit_of_work, bad):
        """No error, no team."""
        user, _ = await stored(unit_of_work)
        team = a_team(user)

        async with unit_of_work() as work:
            await work.teams.add_owned(team)
            assert await work.teams.find_membership(user.user_id, bad) is None
            assert await work.teams.find_membership(bad, team.team_id) is None

    async def test_a_request_id_makes_one_team(self, unit_of_work):
        """Per owner; without a request id every creation is a new one."""
        user, _ = await stored(unit_of_work)
        other, _ = await stored(unit_of_work, "ben")
        first = a_team(user, request_id="r1")

        async with unit_of_work() as work:
            await work.teams.add_owned(first)
            assert await work.teams.add_owned(a_team(user, request_id="r1")) == first
            theirs = a_team(other, request_id="r1")
            assert await work.teams.add_owned(theirs) == theirs
            for plain in (a_team(user), a_team(user)):
                assert await work.teams.add_owned(plain) == plain

    async def test_pages_are_oldest_first(self, unit_of_work):
        """Teams of the same moment are in the order of their ids."""
        user, _ = await stored(unit_of_work)
        made = [a_team(user, created_at=NOW + timedelta(days=day)) for day in (2, 1, 1)]
        async with unit_of_work() as work:
            for team in made:
                await work.teams.add_owned(team)

        async with unit_of_work() as work:
            first = await work.teams.list_of_member(user.user_id, after=None, limit=2)
            after = (first[-1].team.created_at, first[-1].team.team_id)
            rest = await work.teams.list_of_member(user.user_id, after=after, limit=10)
        assert [one.team for one in [*first, *rest]] == sorted(
            made, key=lambda one: (one.created_at, one.team_id)
        )

    async def test_a_project_keeps_its_team(self, unit_of_work):
        """Found by its members and listed; also after it was saved again."""
        user, _ = await stored(unit_of_work)
        team = a_team(user)
        project = a_project(user, team_id=team.team_id, created_at=NOW + timedelta(days=1))

        async with unit_of_work() as work:
            await work.teams.add_owned(team)
            assert await work.projects.add_owned(project) == project
            await work.projects.save(project)
        async with unit_of_work() as work:
            found = await work.projects.find_membership(user.user_id, project.project_id)
            assert found.project == project
            listed = await work.projects.list_of_member(user.user_id, after=None, limit=10)
            assert listed[-1] == project


class TestApiKeys:
    async def test_a_key_is_found_by_its_id(self, unit_of_work):
        """Also a deleted one; by no other id, well formed or not."""
        user, project = await stored(unit_of_work)
        key = a_key(user, project)

        async with unit_of_work() as work:
            await work.api_keys.add(key, b"1" * 32)
            assert await work.api_keys.find(key.key_id) == key
            for unknown in ("", "x", "a\x01", UNKNOWN_ID):
                assert await work.api_keys.find(unknown) is None
            await work.api_keys.save(key.deleted(NOW))
            assert await work.api_keys.find(key.key_id) == key.deleted(NOW)

    async def test_a_key_comes_back_whole(self, unit_of_work):
        """By the hash of its secret, and by no other."""
        user, project = await stored(unit_of_work)
        key = a_key(user, project, expires_at=NOW, request_id="r1")

        async with unit_of_work() as work:
            assert await work.api_keys.add(key, b"h" * 32) == key
            assert await work.api_keys.find_by_hash(b"h" * 32) == key
            assert await work.api_keys.find_by_hash(b"x" * 32) is None
            await work.api_keys.record_use(key.key_id, NOW)
            assert await work.api_keys.find_by_hash(b"h" * 32) == replace(key, last_used_at=NOW)

    async def test_a_request_id_makes_one_key(self, unit_of_work):
        """Per user; the second secret is kept nowhere."""
        user, project = await stored(unit_of_work)
        first = a_key(user, project, request_id="r1")

        async with unit_of_work() as work:
            await work.api_keys.add(first, b"1" * 32)
            again = await work.api_keys.add(a_key(user, project, request_id="r1"), b"2" * 32)
            assert again == first
            assert await work.api_keys.find_by_hash(b"2" * 32) is None
            for digit in (b"3", b"4"):
                plain = a_key(user, project)
                assert await work.api_keys.add(plain, digit * 32) == plain

    async def test_a_projects_keys_are_those_not_deleted(self, unit_of_work):
        """A deleted key stays, but is not in the list."""
        user, project = await stored(unit_of_work)
        key, gone = a_key(user, project), a_key(user, project)

        async with unit_of_work() as work:
            await work.api_keys.add(key, b"1" * 32)
            await work.api_keys.add(gone, b"2" * 32)
            await work.api_keys.save(gone.deleted(NOW))
            assert await work.api_keys.list_of_project_for_update(project.project_id) == [key]
            assert await work.api_keys.find_by_hash(b"2" * 32) == gone.deleted(NOW)


class TestDenials:
    async def test_denials_come_in_order_after_a_sequence(self, unit_of_work):
        """In batches, each continuing where the last ended."""
        async with unit_of_work() as work:
            for kind in DenialKind:
                await work.denials.add(deny(kind, f"of {kind}", NOW, timedelta(minutes=15)))

        async with unit_of_work() as work:
            first = await work.denials.list_after(0, NOW, limit=3)
            rest = await work.denials.list_after(first[-1].sequence, NOW, limit=3)
        found = [*first, *rest]
        assert [denial.kind for denial in found] == list(DenialKind)
        assert [denial.subject for denial in found] == [f"of {kind}" for kind in DenialKind]
        assert found == sorted(found, key=lambda one: one.sequence)
        assert found[0].sequence > 0
        assert (found[0].denied_at, found[0].expires_at) == (NOW, NOW + timedelta(seconds=930))

    async def test_an_expired_denial_is_not_told(self, unit_of_work):
        """By then the tokens concerned have expired by themselves."""
        async with unit_of_work() as work:
            await work.denials.add(deny(DenialKind.KEY, "k1", NOW, timedelta(minutes=1)))
            end = NOW + timedelta(seconds=90)
            assert len(await work.denials.list_after(0, end - timedelta(seconds=1), 10)) == 1
            assert await work.denials.list_after(0, end, 10) == []

    async def test_expired_denials_are_deleted_and_their_numbers_stay_used(self, unit_of_work):
        """A few at a time, none that is still needed; a reader's number never comes again."""
        async with unit_of_work() as work:
            for minutes in (1, 2, 3, 60):
                life = timedelta(minutes=minutes)
                await work.denials.add(deny(DenialKind.KEY, f"{minutes}", NOW, life))
            *_, last = await work.denials.list_after(0, NOW, 10)

        async with unit_of_work() as work:
            end = NOW + timedelta(minutes=3, seconds=30)
            assert await work.denials.delete_expired(end, 2) == 2
            assert await work.denials.delete_expired(end, 2) == 1
            assert await work.denials.delete_expired(end, 2) == 0
            assert await work.denials.list_after(0, NOW, 10) == [last]
            assert await work.denials.delete_expired(last.expires_at, 2) == 1
        async with unit_of_work() as work:
            await work.denials.add(deny(DenialKind.KEY, "new", NOW, timedelta(minutes=1)))
            [new] = await work.denials.list_after(last.sequence, NOW, 10)
            assert new.subject == "new"


class TestAudit:
    async def test_the_oldest_entries_are_archived_first(self, unit_of_work):
        """A few at a time, and none from the moment on that is asked for."""
        async with unit_of_work() as work:
            for days in (3, 1, 2, 0):
                at = NOW - timedelta(days=days)
                await work.audit.add(AuditEntry(AuditAction.LOGIN_FAILED, at, None))
        counts = []
        for _ in range(3):
            async with unit_of_work() as work:
                counts.append(await work.audit.archive(NOW, 2))

        assert counts == [2, 1, 0]


async def test_an_error_undoes_the_transaction(unit_of_work):
    """All of it, whatever was stored before the error."""
    user, _ = await stored(unit_of_work)
    project = a_project(user)

    async def fail_late():
        async with unit_of_work() as work:
            await work.users.add(a_user("ben"))
            await work.projects.add_owned(project)
            await work.denials.add(deny(DenialKind.KEY, "k1", NOW, timedelta(minutes=1)))
            await work.audit.add(AuditEntry(AuditAction.PROJECT_CREATED, NOW, user.user_id))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_late()

    async with unit_of_work() as work:
        assert await work.users.find_by_identifier("ben") is None
        assert await work.projects.find_membership(user.user_id, project.project_id) is None
        assert await work.denials.list_after(0, NOW, 10) == []
