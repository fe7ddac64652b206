"""Between the words of the protos and the words of the domain."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from google.protobuf import duration_pb2, timestamp_pb2
from weir.auth.v1 import access_service_pb2 as access_pb
from weir.auth.v1 import auth_service_pb2 as auth_pb
from weir.auth.v1 import key_service_pb2 as key_pb
from weir.auth.v1 import membership_service_pb2 as membership_pb
from weir.auth.v1 import schedule_service_pb2 as schedule_pb
from weir.auth.v1 import team_service_pb2 as team_pb

from auth_service.domain.api_key import ApiKey
from auth_service.domain.denial import Denial, DenialKind
from auth_service.domain.permissions import ApiKeyScope, Permission, ProjectRole, TeamRole
from auth_service.domain.project import Membership, Project
from auth_service.domain.team import TeamMembership
from auth_service.domain.user import Account, UserRole
from auth_service.usecases.open_session import TokenPair
from auth_service.usecases.ports import SigningKey
from service_kit.errors import InvalidArgument
from service_kit.schedule import Run, RunOutcome, TaskStatus

_USER_ROLES: Final = {
    UserRole.GUEST: auth_pb.USER_ROLE_GUEST,
    UserRole.USER: auth_pb.USER_ROLE_USER,
    UserRole.PREMIUM_USER: auth_pb.USER_ROLE_PREMIUM_USER,
    UserRole.DEVELOPER: auth_pb.USER_ROLE_DEVELOPER,
    UserRole.ADMIN: auth_pb.USER_ROLE_ADMIN,
    UserRole.SUPER_ADMIN: auth_pb.USER_ROLE_SUPER_ADMIN,
}
_PROJECT_ROLES: Final = {
    ProjectRole.VIEWER: membership_pb.PROJECT_ROLE_VIEWER,
    ProjectRole.DEVELOPER: membership_pb.PROJECT_ROLE_DEVELOPER,
    ProjectRole.MANAGER: membership_pb.PROJECT_ROLE_MANAGER,
    ProjectRole.OWNER: membership_pb.PROJECT_ROLE_OWNER,
}
_TEAM_ROLES: Final = {
    TeamRole.MEMBER: membership_pb.TEAM_ROLE_MEMBER,
    TeamRole.MANAGER: membership_pb.TEAM_ROLE_MANAGER,
    TeamRole.OWNER: membership_pb.TEAM_ROLE_OWNER,
}
_SCOPES: Final = {
    ApiKeyScope.READ: access_pb.API_KEY_SCOPE_READ,
    ApiKeyScope.INFERENCE: access_pb.API_KEY_SCOPE_INFERENCE,
    ApiKeyScope.JOBS_WRITE: access_pb.API_KEY_SCOPE_JOBS_WRITE,
    ApiKeyScope.PROJECTS_WRITE: access_pb.API_KEY_SCOPE_PROJECTS_WRITE,
    ApiKeyScope.ADMIN: access_pb.API_KEY_SCOPE_ADMIN,
}
_SCOPES_FROM_PROTO: Final[dict[int, ApiKeyScope]] = {
    number: scope for scope, number in _SCOPES.items()
}
_DENIAL_KINDS: Final = {
    DenialKind.SESSION: key_pb.DENIAL_KIND_SESSION,
    DenialKind.USER: key_pb.DENIAL_KIND_USER,
    DenialKind.KEY: key_pb.DENIAL_KIND_KEY,
    DenialKind.MEMBERSHIP: key_pb.DENIAL_KIND_MEMBERSHIP,
}

_OUTCOMES: Final = {
    RunOutcome.SUCCEEDED: schedule_pb.SCHEDULED_RUN_OUTCOME_SUCCEEDED,
    RunOutcome.FAILED: schedule_pb.SCHEDULED_RUN_OUTCOME_FAILED,
    RunOutcome.TIMED_OUT: schedule_pb.SCHEDULED_RUN_OUTCOME_TIMED_OUT,
    RunOutcome.ABANDONED: schedule_pb.SCHEDULED_RUN_OUTCOME_ABANDONED,
}


def time_to_proto(moment: datetime | None) -> timestamp_pb2.Timestamp | None:
    """Return the moment, or nothing for nothing, which leaves a field unset."""
    if moment is None:
        return None
    proto = timestamp_pb2.Timestamp()
    proto.FromDatetime(moment)
    return proto


def time_from_proto(proto: timestamp_pb2.Timestamp, field: str) -> datetime:
    """Return the moment in UTC.

    Raises:
        InvalidArgument: It is no moment between the years 1 and 9999.
    """
    try:
        return proto.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidArgument(field, "This is no point in time.") from error


def account_to_proto(account: Account) -> auth_pb.User:
    user = account.user
    return auth_pb.User(
        user_id=user.user_id,
        email=user.email,
        username=user.username,
        full_name=user.full_name,
        role=_USER_ROLES[user.role],
        created_at=time_to_proto(user.created_at),
        last_login_at=time_to_proto(user.last_login_at),
        default_project_id=account.default_project_id,
        active_sessions_count=account.active_sessions_count,
    )


def tokens_to_proto(tokens: TokenPair) -> auth_pb.TokenPair:
    return auth_pb.TokenPair(
        access_token=tokens.access_token,
        refresh_token=tokens.refresh_token,
        access_token_seconds=tokens.access_token_seconds,
    )


def project_to_proto(project: Project) -> access_pb.Project:
    return access_pb.Project(
        project_id=project.project_id,
        name=project.name,
        owner_user_id=project.owner_user_id,
        is_default=project.is_default,
        created_at=time_to_proto(project.created_at),
        team_id=project.team_id or "",
    )


def team_to_proto(membership: TeamMembership) -> team_pb.Team:
    team = membership.team
    return team_pb.Team(
        team_id=team.team_id,
        name=team.name,
        owner_user_id=team.owner_user_id,
        team_role=_TEAM_ROLES[membership.role],
        created_at=time_to_proto(team.created_at),
    )


def api_key_to_proto(key: ApiKey) -> access_pb.ApiKey:
    return access_pb.ApiKey(
        key_id=key.key_id,
        project_id=key.project_id,
        name=key.name,
        scopes=[_SCOPES[scope] for scope in key.scopes],
        created_at=time_to_proto(key.created_at),
        expires_at=time_to_proto(key.expires_at),
        prefix=key.prefix,
    )


def scopes_from_proto(numbers: Iterable[int]) -> list[ApiKeyScope]:
    """Return the scopes.

    Raises:
        InvalidArgument: One is unspecified, or newer than this service.
    """
    try:
        return [_SCOPES_FROM_PROTO[number] for number in numbers]
    except KeyError as error:
        raise InvalidArgument("scopes", "There is no such scope.") from error


def access_to_proto(
    membership: Membership, permissions: Iterable[Permission]
) -> membership_pb.CheckAccessResponse:
    project = membership.project
    return membership_pb.CheckAccessResponse(
        project_id=project.project_id,
        owner_user_id=project.owner_user_id,
        is_default=project.is_default,
        project_role=_PROJECT_ROLES[membership.role],
        permissions=sorted(permissions),
        team_id=project.team_id or "",
    )


def team_access_to_proto(
    membership: TeamMembership, permissions: Iterable[Permission]
) -> membership_pb.CheckTeamAccessResponse:
    return membership_pb.CheckTeamAccessResponse(
        team_id=membership.team.team_id,
        owner_user_id=membership.team.owner_user_id,
        team_role=_TEAM_ROLES[membership.role],
        permissions=sorted(permissions),
    )


def key_access_to_proto(
    key_id: str, membership: Membership, permissions: Iterable[Permission]
) -> membership_pb.CheckKeyAccessResponse:
    return membership_pb.CheckKeyAccessResponse(
        api_key_id=key_id,
        project_id=membership.project.project_id,
        owner_user_id=membership.project.owner_user_id,
        permissions=sorted(permissions),
    )


def signing_key_to_proto(key: SigningKey) -> key_pb.SigningKey:
    return key_pb.SigningKey(
        kid=key.kid, public_key=key.public_bytes, created_at=time_to_proto(key.created_at)
    )


def denial_to_proto(denial: Denial) -> key_pb.Denial:
    return key_pb.Denial(
        sequence=denial.sequence,
        kind=_DENIAL_KINDS[denial.kind],
        subject=denial.subject,
        denied_at=time_to_proto(denial.denied_at),
        expires_at=time_to_proto(denial.expires_at),
    )


def task_status_to_proto(status: TaskStatus) -> schedule_pb.ScheduledTask:
    return schedule_pb.ScheduledTask(
        task=status.task,
        schedule=status.schedule,
        next_due_at=time_to_proto(status.next_due_at),
        running_since=time_to_proto(status.running_since),
        last_run=None if status.last_run is None else _run_to_proto(status.last_run),
    )


def _run_to_proto(run: Run) -> schedule_pb.ScheduledRun:
    assert run.outcome is not None, "it is over"
    duration = None
    if run.duration_seconds is not None:
        duration = duration_pb2.Duration()
        duration.FromNanoseconds(round(run.duration_seconds * 1e9))
    return schedule_pb.ScheduledRun(
        due_at=time_to_proto(run.due_at),
        started_at=time_to_proto(run.started_at),
        finished_at=time_to_proto(run.finished_at),
        duration=duration,
        outcome=_OUTCOMES[run.outcome],
        error=run.error or "",
        attempt=run.attempt,
    )
