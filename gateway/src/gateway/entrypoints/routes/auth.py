"""Accounts, sessions and API keys."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from weir.auth.v1 import access_service_pb2 as access_pb
from weir.auth.v1 import auth_service_pb2 as auth_pb

from gateway.entrypoints import convert
from gateway.entrypoints.dependencies import (
    SECURITY,
    CurrentCaller,
    EdgeParts,
    HeaderProject,
    IdempotencyKey,
    limit_by_address,
    one_project,
)
from gateway.entrypoints.schemas.auth import (
    ApiKeyView,
    CreateApiKeyBody,
    LoginBody,
    RefreshBody,
    RegisterBody,
    RegisteredView,
    TokensView,
    UserView,
)
from gateway.entrypoints.strict_json import StrictJsonRoute

router = APIRouter(prefix="/api/v1/auth", tags=["auth"], route_class=StrictJsonRoute)

_COUNTED = [Depends(limit_by_address)]


@router.post("/register", status_code=201, dependencies=_COUNTED)
async def register(body: RegisterBody, edge: EdgeParts) -> RegisteredView:
    """Create an account with a default project, and open its first session."""
    response = await edge.auth.register(
        auth_pb.RegisterRequest(
            email=body.email,
            username=body.username or "",
            full_name=body.full_name or body.name or "",
            password=body.password,
        )
    )
    return convert.registered_view(response)


@router.post("/login", dependencies=_COUNTED)
async def login(body: LoginBody, edge: EdgeParts) -> TokensView:
    """Open a session, by username or e-mail address."""
    identifier = body.username if body.username is not None else body.email
    response = await edge.auth.login(identifier or "", body.password)
    return convert.tokens_view(response.tokens)


@router.post("/refresh", dependencies=_COUNTED)
async def refresh(body: RefreshBody, edge: EdgeParts) -> TokensView:
    """Exchange a refresh token for new tokens; it works once."""
    return convert.tokens_view(await edge.auth.refresh_tokens(body.refresh_token))


@router.get("/me", dependencies=list(SECURITY))
async def get_current_user(edge: EdgeParts, _: CurrentCaller) -> UserView:
    """Return the account of the caller."""
    return convert.user_view(await edge.auth.current_user())


@router.post("/api-keys", status_code=201, dependencies=list(SECURITY))
async def create_api_key(
    body: CreateApiKeyBody,
    edge: EdgeParts,
    _: CurrentCaller,
    header_project: HeaderProject,
    request_id: IdempotencyKey,
) -> ApiKeyView:
    """Create an API key. Its secret is shown here, once; a replay returns the key without it."""
    request = access_pb.CreateApiKeyRequest(
        project_id=one_project(body.project_id or "", header_project),
        name=body.name,
        scopes=convert.scopes_to_proto(body.scopes or []),
        request_id=request_id,
    )
    if body.expires_at is not None:
        request.expires_at.FromDatetime(body.expires_at)
    return convert.api_key_view(await edge.auth.create_api_key(request))
