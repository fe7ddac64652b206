"""gRPC face of projects and API keys: convert, call, convert back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import grpc
from weir.auth.v1 import access_service_pb2 as pb
from weir.auth.v1 import access_service_pb2_grpc as pb_grpc

from auth_service.entrypoints import convert
from auth_service.usecases.create_api_key import CreateApiKey, NewApiKey
from auth_service.usecases.create_project import CreateProject
from auth_service.usecases.delete_project import DeleteProject
from auth_service.usecases.exchange_api_key import ExchangeApiKey
from auth_service.usecases.get_project import GetProject
from auth_service.usecases.list_projects import ListProjects
from service_kit.request_context import caller

Context = grpc.aio.ServicerContext[Any, Any]

RPC_SERVICE: Final = "weir.auth.v1.AccessService"
UNAUTHENTICATED_METHODS: Final = (f"/{RPC_SERVICE}/ExchangeApiKey",)


@dataclass(frozen=True, slots=True)
class AccessUseCases:
    """What the handlers call."""

    create_project: CreateProject
    get_project: GetProject
    list_projects: ListProjects
    delete_project: DeleteProject
    create_api_key: CreateApiKey
    exchange_api_key: ExchangeApiKey


class AccessHandlers(pb_grpc.AccessServiceServicer):
    """Serves `AccessService`."""

    def __init__(self, use_cases: AccessUseCases) -> None:
        self._use_cases = use_cases

    async def CreateProject(
        self, request: pb.CreateProjectRequest, context: Context
    ) -> pb.CreateProjectResponse:
        found = await self._use_cases.create_project(
            caller(), request.name, request.request_id, request.team_id
        )
        return pb.CreateProjectResponse(
            project=convert.project_to_proto(found.project), created=found.created
        )

    async def GetProject(
        self, request: pb.GetProjectRequest, context: Context
    ) -> pb.GetProjectResponse:
        project = await self._use_cases.get_project(caller(), request.project_id)
        return pb.GetProjectResponse(project=convert.project_to_proto(project))

    async def ListProjects(
        self, request: pb.ListProjectsRequest, context: Context
    ) -> pb.ListProjectsResponse:
        projects, next_page_token = await self._use_cases.list_projects(
            caller(), request.page_size, request.page_token
        )
        return pb.ListProjectsResponse(
            projects=[convert.project_to_proto(project) for project in projects],
            next_page_token=next_page_token,
        )

    async def DeleteProject(
        self, request: pb.DeleteProjectRequest, context: Context
    ) -> pb.DeleteProjectResponse:
        await self._use_cases.delete_project(caller(), request.project_id)
        return pb.DeleteProjectResponse()

    async def CreateApiKey(
        self, request: pb.CreateApiKeyRequest, context: Context
    ) -> pb.CreateApiKeyResponse:
        created = await self._use_cases.create_api_key(
            caller(),
            NewApiKey(
                name=request.name,
                project_id=request.project_id,
                scopes=convert.scopes_from_proto(request.scopes),
                expires_at=convert.time_from_proto(request.expires_at, "expires_at")
                if request.HasField("expires_at")
                else None,
                request_id=request.request_id,
            ),
        )
        return pb.CreateApiKeyResponse(
            api_key=convert.api_key_to_proto(created.key), secret=created.secret
        )

    async def ExchangeApiKey(
        self, request: pb.ExchangeApiKeyRequest, context: Context
    ) -> pb.ExchangeApiKeyResponse:
        token = await self._use_cases.exchange_api_key(request.secret)
        return pb.ExchangeApiKeyResponse(
            internal_token=token.text, expires_at=convert.time_to_proto(token.expires_at)
        )
