"""Every value of every enum finds its way, and no other does."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from weir.auth.v1 import access_service_pb2 as access_pb
from weir.auth.v1 import auth_service_pb2 as auth_pb
from weir.auth.v1 import key_service_pb2 as key_pb
from weir.auth.v1 import membership_service_pb2 as membership_pb
from weir.auth.v1 import schedule_service_pb2 as schedule_pb

from auth_service.domain.api_key import ApiKey
from auth_service.domain.denial import Denial, DenialKind
from auth_service.domain.permissions import ApiKeyScope, ProjectRole, TeamRole
from auth_service.domain.project import Membership, Project
from auth_service.domain.team import Team, TeamMembership
from auth_service.domain.user import Account, User, UserRole
from auth_service.entrypoints import convert
from auth_service.usecases.open_session import TokenPair
from auth_service.usecases.ports import SigningKey
from service_kit.errors import InvalidArgument
from service_kit.schedule import Run, RunOutcome, TaskStatus

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
PROJECT = Project("p1", "Research", "u1", is_default=True, created_at=NOW)


@pytest.mark.parametrize("role", UserRole)
def test_every_user_role_has_a_proto(role):
    """The names agree, so a tier can't be shown as another."""
    user = User("u1", "a@b.org", "ann", "Ann", "hash", role, NOW, LATER)

    proto = convert.account_to_proto(Account(user, "p1", 3))

    assert auth_pb.UserRole.Name(proto.role) == f"USER_ROLE_{role.name}"
    assert (proto.user_id, proto.email, proto.username, proto.full_name) == (
        "u1", "a@b.org", "ann", "Ann",
    )  # fmt: skip
    assert proto.created_at.ToDatetime(tzinfo=UTC) == NOW
    assert proto.last_login_at.ToDatetime(tzinfo=UTC) == LATER
    assert (proto.default_project_id, proto.active_sessions_count) == ("p1", 3)


def test_a_person_who_never_logged_in_has_no_time_of_it():
    """An absent time stays unset."""
    user = User("u1", "a@b.org", "ann", "Ann", "hash", UserRole.USER, NOW)

    assert not convert.account_to_proto(Account(user, "p1", 0)).HasField("last_login_at")


@pytest.mark.parametrize("role", ProjectRole)
def test_every_project_role_has_a_proto(role):
    """With the project's facts and the permissions in a stable order."""
    proto = convert.access_to_proto(Membership(PROJECT, "u2", role), {"jobs:write", "inference"})

    assert membership_pb.ProjectRole.Name(proto.project_role) == f"PROJECT_ROLE_{role.name}"
    assert (proto.project_id, proto.owner_user_id, proto.is_default) == ("p1", "u1", True)
    assert list(proto.permissions) == ["inference", "jobs:write"]


@pytest.mark.parametrize("role", TeamRole)
def test_every_team_role_has_a_proto(role):
    """Shown to the member, and told to other services with the permissions."""
    membership = TeamMembership(Team("t1", "Weather", "u1", NOW), "u2", role)

    shown = convert.team_to_proto(membership)
    told = convert.team_access_to_proto(membership, {"projects:read", "costs:read"})

    for proto in (shown, told):
        assert membership_pb.TeamRole.Name(proto.team_role) == f"TEAM_ROLE_{role.name}"
        assert (proto.team_id, proto.owner_user_id) == ("t1", "u1")
    assert shown.name == "Weather"
    assert shown.created_at.ToDatetime(tzinfo=UTC) == NOW
    assert list(told.permissions) == ["costs:read", "projects:read"]


def test_a_key_is_told_with_its_project():
    """Whose allowance and what permissions are those of the project."""
    proto = convert.key_access_to_proto(
        "k1", Membership(PROJECT, "u2", ProjectRole.VIEWER), {"jobs:read", "costs:read"}
    )

    assert (proto.api_key_id, proto.project_id, proto.owner_user_id) == ("k1", "p1", "u1")
    assert list(proto.permissions) == ["costs:read", "jobs:read"]


def test_a_project_names_its_team():
    """To its owner and to other services; empty where it has none."""
    for project, team_id in ((PROJECT, ""), (replace(PROJECT, team_id="t1"), "t1")):
        access = convert.access_to_proto(Membership(project, "u2", ProjectRole.VIEWER), ())
        assert convert.project_to_proto(project).team_id == access.team_id == team_id


@pytest.mark.parametrize("scope", ApiKeyScope)
def test_every_scope_goes_there_and_back(scope):
    """Out to the proto by name, and back to itself."""
    key = ApiKey("k1", "u1", "p1", "ci", "sk-abc", (scope,), NOW, expires_at=LATER)

    proto = convert.api_key_to_proto(key)

    assert access_pb.ApiKeyScope.Name(proto.scopes[0]) == f"API_KEY_SCOPE_{scope.name}"
    assert convert.scopes_from_proto(proto.scopes) == [scope]
    assert (proto.key_id, proto.project_id, proto.name, proto.prefix) == (
        "k1", "p1", "ci", "sk-abc",
    )  # fmt: skip
    assert proto.expires_at.ToDatetime(tzinfo=UTC) == LATER


def test_every_scope_of_the_proto_is_known():
    """All but the unspecified one, which is refused like a number nobody knows."""
    numbers = set(access_pb.ApiKeyScope.values()) - {access_pb.API_KEY_SCOPE_UNSPECIFIED}

    assert len(convert.scopes_from_proto(sorted(numbers))) == len(ApiKeyScope)
    for number in (access_pb.API_KEY_SCOPE_UNSPECIFIED, 99, -1):
        with pytest.raises(InvalidArgument):
            convert.scopes_from_proto([number])


@pytest.mark.parametrize("kind", DenialKind)
def test_every_kind_of_denial_has_a_proto(kind):
    """The names agree."""
    proto = convert.denial_to_proto(Denial(kind, "s1", NOW, LATER, sequence=7))

    assert key_pb.DenialKind.Name(proto.kind) == f"DENIAL_KIND_{kind.name}"
    assert (proto.sequence, proto.subject) == (7, "s1")
    assert proto.denied_at.ToDatetime(tzinfo=UTC) == NOW
    assert proto.expires_at.ToDatetime(tzinfo=UTC) == LATER


@pytest.mark.parametrize(
    ("enum", "members"),
    [
        (auth_pb.UserRole, UserRole),
        (access_pb.ApiKeyScope, ApiKeyScope),
        (membership_pb.ProjectRole, ProjectRole),
        (membership_pb.TeamRole, TeamRole),
        (key_pb.DenialKind, DenialKind),
    ],
)
def test_no_value_of_a_proto_is_without_a_member(enum, members):
    """Whoever adds a value to a proto meets this test."""
    assert len(enum.keys()) - 1 == len(members)


def test_projects_keys_and_tokens_keep_their_fields():
    """Nothing is swapped on the way out."""
    project = convert.project_to_proto(PROJECT)
    key = convert.signing_key_to_proto(SigningKey("k1", bytes(range(32)), NOW))
    tokens = convert.tokens_to_proto(TokenPair("access", "refresh", 900))

    assert (project.project_id, project.name, project.owner_user_id) == ("p1", "Research", "u1")
    assert project.is_default
    assert project.created_at.ToDatetime(tzinfo=UTC) == NOW
    assert (key.kid, key.public_key) == ("k1", bytes(range(32)))
    assert (tokens.access_token, tokens.refresh_token) == ("access", "refresh")
    assert tokens.access_token_seconds == 900


def test_a_time_comes_in_exactly():
    """In UTC, to the microsecond."""
    assert convert.time_from_proto(convert.time_to_proto(NOW), "expires_at") == NOW


@pytest.mark.parametrize(
    ("seconds", "nanos"), [(253402300800, 0), (-62135596801, 0), (2**62, 0), (0, -1), (0, 10**9)]
)
def test_what_is_no_time_is_refused(seconds, nanos):
    """Outside the years 1 to 9999, or with impossible nanoseconds."""
    with pytest.raises(InvalidArgument):
        convert.time_from_proto(Timestamp(seconds=seconds, nanos=nanos), "expires_at")


@pytest.mark.parametrize("outcome", RunOutcome)
def test_every_outcome_of_a_run_has_a_proto(outcome):
    """With the times, the duration and the error."""
    run = Run("t", NOW, 2, NOW, LATER, 1.25, outcome, "KeyError")

    proto = convert.task_status_to_proto(TaskStatus("t", "every 60 s", LATER, NOW, run))

    name = schedule_pb.ScheduledRunOutcome.Name(proto.last_run.outcome)
    assert name == f"SCHEDULED_RUN_OUTCOME_{outcome.name}"
    assert (proto.task, proto.schedule) == ("t", "every 60 s")
    assert proto.next_due_at.ToDatetime(tzinfo=UTC) == LATER
    assert proto.running_since.ToDatetime(tzinfo=UTC) == NOW
    assert proto.last_run.started_at.ToDatetime(tzinfo=UTC) == NOW
    assert proto.last_run.finished_at.ToDatetime(tzinfo=UTC) == LATER
    assert proto.last_run.duration.ToTimedelta() == timedelta(seconds=1.25)
    assert (proto.last_run.error, proto.last_run.attempt) == ("KeyError", 2)


def test_what_has_not_happened_is_unset():
    """No run yet, none under way; a run that nobody measured, without an error."""
    proto = convert.task_status_to_proto(TaskStatus("t", "x", LATER, None, None))
    assert not proto.HasField("running_since")
    assert not proto.HasField("last_run")

    run = Run("t", NOW, 1, NOW, LATER, None, RunOutcome.ABANDONED)
    proto = convert.task_status_to_proto(TaskStatus("t", "x", LATER, None, run))
    assert not proto.last_run.HasField("duration")
    assert proto.last_run.error == ""
