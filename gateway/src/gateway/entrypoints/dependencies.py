"""What routes ask for: the edge, the caller, the project that is meant, the idempotency key.

All are coroutines: FastAPI sends each plain function through a thread, for every request.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, cast

from fastapi import Depends, Header, Query
from fastapi.requests import HTTPConnection
from fastapi.security import APIKeyHeader, HTTPBearer
from weir.router.v1 import router_service_pb2 as router_pb

from gateway.domain.credentials import Credential, read_credential
from gateway.domain.rate import RateLimit
from gateway.entrypoints.client_address import limiter_identity
from gateway.entrypoints.convert import RESIDENCIES
from gateway.entrypoints.edge import Edge
from gateway.entrypoints.errors import rate_limited
from gateway.entrypoints.middleware import CLIENT_ADDRESS, add_response_header
from gateway.entrypoints.socket_credentials import offered_credentials
from service_kit import request_context
from service_kit.access import ProjectNotFound
from service_kit.errors import ErrorCode, InvalidArgument, ServiceError
from service_kit.ids import is_uuid
from service_kit.request_context import Caller

_VISIBLE: Final = re.compile(r"[\x21-\x7e]{1,255}")

# For the OpenAPI document; `current_caller` reads the headers itself.
SECURITY: Final = (
    Depends(
        HTTPBearer(
            auto_error=False,
            scheme_name="token",
            description="The access token of a person, or an API key (`sk-...`).",
        )
    ),
    Depends(APIKeyHeader(name="X-API-Key", auto_error=False, scheme_name="api_key")),
)


async def get_edge(connection: HTTPConnection) -> Edge:
    return cast(Edge, connection.app.state.edge)


EdgeParts = Annotated[Edge, Depends(get_edge)]


async def current_credential(connection: HTTPConnection) -> Credential:
    """Return what the request shows. No other header says who the caller is."""
    headers = connection.headers
    return read_credential(
        [*headers.getlist("authorization"), *offered_credentials(connection.scope)],
        headers.getlist("x-api-key"),
    )


CurrentCredential = Annotated[Credential, Depends(current_credential)]


async def current_caller(
    connection: HTTPConnection, edge: EdgeParts, credential: CurrentCredential
) -> Caller:
    """Authenticate the request, count it, and make its caller known to everything below."""
    caller = await edge.authenticate(credential)
    await _count(connection, edge, edge.caller_limit, caller.key_id or caller.user_id)
    request_context.current_caller.set(caller)
    return caller


CurrentCaller = Annotated[Caller, Depends(current_caller)]


async def limit_by_address(connection: HTTPConnection, edge: EdgeParts) -> None:
    """Count a request to a route that needs no credential."""
    identity = limiter_identity(connection.scope[CLIENT_ADDRESS])
    await _count(connection, edge, edge.address_limit, identity)


async def _count(connection: HTTPConnection, edge: Edge, limit: RateLimit, identity: str) -> None:
    verdict = await edge.limiter.hit(limit, identity)
    add_response_header(connection.scope, "ratelimit-policy", limit.policy)
    add_response_header(connection.scope, "ratelimit", verdict.header(limit))
    if not verdict.allowed:
        raise rate_limited(verdict.retry_seconds)


async def idempotency_key(
    idempotency_key: Annotated[
        str | None,
        Header(description="The same key returns what was created first; 1 to 255 characters."),
    ] = None,
) -> str:
    """Return the key, or "" where there is none."""
    if idempotency_key is None:
        return ""
    if _VISIBLE.fullmatch(idempotency_key) is None:
        raise InvalidArgument(
            "Idempotency-Key", "An Idempotency-Key has 1 to 255 visible ASCII characters."
        )
    return idempotency_key


IdempotencyKey = Annotated[str, Depends(idempotency_key)]


async def required_idempotency_key(key: IdempotencyKey) -> str:
    """Return the key of what changes money: done twice for want of one, nobody could tell."""
    if not key:
        raise InvalidArgument("Idempotency-Key", "This needs an Idempotency-Key.")
    return key


RequiredIdempotencyKey = Annotated[str, Depends(required_idempotency_key)]


async def openai_project(
    openai_project: Annotated[
        str | None, Header(description="The project that is meant; a person's default project.")
    ] = None,
) -> str:
    """Return the project named by the header, or "" where none is."""
    return checked_project_id(openai_project or "")


HeaderProject = Annotated[str, Depends(openai_project)]


async def header_residency(
    x_weir_residency: Annotated[
        str | None,
        Header(description="`any`, or `local_only`: our own hardware and nothing else."),
    ] = None,
) -> router_pb.Residency.ValueType:
    """Return where the prompt may go."""
    found = RESIDENCIES.get(x_weir_residency or "any")
    if found is None:
        raise InvalidArgument("X-Weir-Residency", "This must be 'any' or 'local_only'.")
    return found


HeaderResidency = Annotated[router_pb.Residency.ValueType, Depends(header_residency)]


async def named_project(
    header: HeaderProject,
    project_id: Annotated[
        str | None, Query(description="The project that is meant.", max_length=64)
    ] = None,
) -> str:
    """Return the project named by the query or the header, or "" where none is."""
    return one_project(project_id or "", header)


NamedProject = Annotated[str, Depends(named_project)]


def one_project(given: str, header: str) -> str:
    """Return the project that a request names, in its query or body, and in its header."""
    if given and header and given != header:
        raise InvalidArgument("project_id", "project_id and OpenAI-Project differ.")
    return checked_project_id(given or header)


def checked_project_id(project_id: str) -> str:
    """Return the id; one that can't be an id belongs to no project."""
    if project_id and not is_uuid(project_id):
        raise ProjectNotFound(project_id[:64])
    return project_id


class TeamNotFound(ServiceError):
    """The team does not exist, or the caller has no part in it."""

    code = ErrorCode.NOT_FOUND
    reason = "TEAM_NOT_FOUND"

    def __init__(self, team_id: str) -> None:
        super().__init__(f"Team {team_id} does not exist.", metadata={"team_id": team_id})


def checked_team_id(team_id: str) -> str:
    """Return the id; one that can't be an id belongs to no team."""
    if not is_uuid(team_id):
        raise TeamNotFound(team_id[:64])
    return team_id
