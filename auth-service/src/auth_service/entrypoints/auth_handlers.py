"""gRPC face of accounts and sessions: convert, call, convert back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import grpc
from weir.auth.v1 import auth_service_pb2 as pb
from weir.auth.v1 import auth_service_pb2_grpc as pb_grpc

from auth_service.entrypoints import convert
from auth_service.usecases.get_current_user import GetCurrentUser
from auth_service.usecases.log_in import LogIn
from auth_service.usecases.refresh_tokens import RefreshTokens
from auth_service.usecases.register import Register, Registration
from service_kit.request_context import caller

Context = grpc.aio.ServicerContext[Any, Any]

RPC_SERVICE: Final = "weir.auth.v1.AuthService"
UNAUTHENTICATED_METHODS: Final = (
    f"/{RPC_SERVICE}/Register",
    f"/{RPC_SERVICE}/Login",
    f"/{RPC_SERVICE}/RefreshTokens",
)


@dataclass(frozen=True, slots=True)
class AuthUseCases:
    """What the handlers call."""

    register: Register
    log_in: LogIn
    refresh_tokens: RefreshTokens
    get_current_user: GetCurrentUser


class AuthHandlers(pb_grpc.AuthServiceServicer):
    """Serves `AuthService`."""

    def __init__(self, use_cases: AuthUseCases) -> None:
        self._use_cases = use_cases

    async def Register(self, request: pb.RegisterRequest, context: Context) -> pb.RegisterResponse:
        account, tokens = await self._use_cases.register(
            Registration(
                email=request.email,
                password=request.password,
                username=request.username,
                full_name=request.full_name,
            )
        )
        return pb.RegisterResponse(
            user=convert.account_to_proto(account), tokens=convert.tokens_to_proto(tokens)
        )

    async def Login(self, request: pb.LoginRequest, context: Context) -> pb.LoginResponse:
        account, tokens = await self._use_cases.log_in(request.identifier, request.password)
        return pb.LoginResponse(
            user=convert.account_to_proto(account), tokens=convert.tokens_to_proto(tokens)
        )

    async def RefreshTokens(
        self, request: pb.RefreshTokensRequest, context: Context
    ) -> pb.RefreshTokensResponse:
        tokens = await self._use_cases.refresh_tokens(request.refresh_token)
        return pb.RefreshTokensResponse(tokens=convert.tokens_to_proto(tokens))

    async def GetCurrentUser(
        self, request: pb.GetCurrentUserRequest, context: Context
    ) -> pb.GetCurrentUserResponse:
        account = await self._use_cases.get_current_user(caller().user_id)
        return pb.GetCurrentUserResponse(user=convert.account_to_proto(account))
