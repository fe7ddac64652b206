"""auth-service: people, projects, keys, and what verifiers need to know."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Literal

import grpc
from google.protobuf import timestamp_pb2
from weir.auth.v1 import access_service_pb2 as access_pb
from weir.auth.v1 import access_service_pb2_grpc as access_grpc
from weir.auth.v1 import auth_service_pb2 as auth_pb
from weir.auth.v1 import auth_service_pb2_grpc as auth_grpc
from weir.auth.v1 import key_service_pb2 as key_pb
from weir.auth.v1 import key_service_pb2_grpc as key_grpc
from weir.auth.v1 import membership_service_pb2 as membership_pb
from weir.auth.v1 import membership_service_pb2_grpc as membership_grpc
from weir.auth.v1 import schedule_service_pb2 as schedule_pb
from weir.auth.v1 import schedule_service_pb2_grpc as schedule_grpc

from gateway.domain.project import Project
from gateway.usecases.ports import InternalToken, ProjectOfRequest
from service_kit.access import ProjectAccess
from service_kit.grpc_errors import rpc_errors
from service_kit.tokens import Denial, PublicKey

_DENIAL_KINDS: Final[dict[int, Literal["session", "user", "key", "membership"]]] = {
    key_pb.DENIAL_KIND_SESSION: "session",
    key_pb.DENIAL_KIND_USER: "user",
    key_pb.DENIAL_KIND_KEY: "key",
    key_pb.DENIAL_KIND_MEMBERSHIP: "membership",
}


class AuthClient:
    """Calls auth-service; the channel forwards the current caller's token."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._accounts = auth_grpc.AuthServiceStub(channel)
        self._access = access_grpc.AccessServiceStub(channel)
        self._membership = membership_grpc.MembershipServiceStub(channel)
        self._keys = key_grpc.KeyServiceStub(channel)
        self._schedule = schedule_grpc.ScheduleServiceStub(channel)

    async def register(self, request: auth_pb.RegisterRequest) -> auth_pb.RegisterResponse:
        with rpc_errors():
            return await self._accounts.Register(request)

    async def login(self, identifier: str, password: str) -> auth_pb.LoginResponse:
        with rpc_errors():
            return await self._accounts.Login(
                auth_pb.LoginRequest(identifier=identifier, password=password)
            )

    async def refresh_tokens(self, refresh_token: str) -> auth_pb.TokenPair:
        with rpc_errors():
            response = await self._accounts.RefreshTokens(
                auth_pb.RefreshTokensRequest(refresh_token=refresh_token)
            )
        return response.tokens

    async def current_user(self) -> auth_pb.User:
        with rpc_errors():
            response = await self._accounts.GetCurrentUser(auth_pb.GetCurrentUserRequest())
        return response.user

    async def create_project(self, name: str, request_id: str, team_id: str) -> ProjectOfRequest:
        with rpc_errors():
            response = await self._access.CreateProject(
                access_pb.CreateProjectRequest(name=name, request_id=request_id, team_id=team_id)
            )
        return ProjectOfRequest(_project(response.project), response.created)

    async def get_project(self, project_id: str) -> Project:
        with rpc_errors():
            response = await self._access.GetProject(
                access_pb.GetProjectRequest(project_id=project_id)
            )
        return _project(response.project)

    async def list_projects(self, page_size: int, page_token: str) -> tuple[Sequence[Project], str]:
        with rpc_errors():
            response = await self._access.ListProjects(
                access_pb.ListProjectsRequest(page_size=page_size, page_token=page_token)
            )
        return [_project(project) for project in response.projects], response.next_page_token

    async def delete_project(self, project_id: str) -> None:
        with rpc_errors():
            await self._access.DeleteProject(access_pb.DeleteProjectRequest(project_id=project_id))

    async def create_api_key(
        self, request: access_pb.CreateApiKeyRequest
    ) -> access_pb.CreateApiKeyResponse:
        with rpc_errors():
            return await self._access.CreateApiKey(request)

    async def exchange_api_key(self, secret: str) -> InternalToken:
        with rpc_errors():
            response = await self._access.ExchangeApiKey(
                access_pb.ExchangeApiKeyRequest(secret=secret)
            )
        return InternalToken(response.internal_token, _time(response.expires_at))

    async def project_access(
        self, user_id: str, project_id: str, scopes: frozenset[str]
    ) -> ProjectAccess:
        with rpc_errors():
            response = await self._membership.CheckAccess(
                membership_pb.CheckAccessRequest(
                    user_id=user_id, project_id=project_id, scopes=sorted(scopes)
                )
            )
        return ProjectAccess(
            project_id=response.project_id,
            owner_user_id=response.owner_user_id,
            is_default=response.is_default,
            permissions=frozenset(response.permissions),
            team_id=response.team_id,
        )

    async def list_keys(self) -> Sequence[PublicKey]:
        with rpc_errors():
            response = await self._keys.ListSigningKeys(key_pb.ListSigningKeysRequest())
        return [PublicKey(key.kid, key.public_key) for key in response.signing_keys]

    async def list_denials(self, after_sequence: int) -> Sequence[Denial]:
        with rpc_errors():
            response = await self._keys.ListDenials(
                key_pb.ListDenialsRequest(after_sequence=after_sequence)
            )
        return [_denial(denial) for denial in response.denials]

    async def list_scheduled_tasks(self) -> Sequence[schedule_pb.ScheduledTask]:
        with rpc_errors():
            response = await self._schedule.ListScheduledTasks(
                schedule_pb.ListScheduledTasksRequest()
            )
        return response.tasks


def _project(project: access_pb.Project) -> Project:
    return Project(
        project_id=project.project_id,
        name=project.name,
        owner_user_id=project.owner_user_id,
        is_default=project.is_default,
        created_at=_time(project.created_at),
        team_id=project.team_id or None,
    )


def _denial(denial: key_pb.Denial) -> Denial:
    return Denial(
        sequence=denial.sequence,
        kind=_DENIAL_KINDS[denial.kind],
        subject=denial.subject,
        denied_at=_time(denial.denied_at),
        expires_at=_time(denial.expires_at),
    )


def _time(timestamp: timestamp_pb2.Timestamp) -> datetime:
    return timestamp.ToDatetime(tzinfo=UTC)
