"""auth-service: keys and denials to verify tokens with, and who may do what in a project."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Final, Literal

import grpc
from weir.auth.v1 import key_service_pb2 as key_pb
from weir.auth.v1 import key_service_pb2_grpc as key_grpc
from weir.auth.v1 import membership_service_pb2 as membership_pb
from weir.auth.v1 import membership_service_pb2_grpc as membership_grpc

from service_kit.access import ProjectAccess
from service_kit.errors import Unavailable
from service_kit.grpc_errors import rpc_errors
from service_kit.tokens import Denial, PublicKey

DENIAL_KINDS: Final[
    dict[key_pb.DenialKind.ValueType, Literal["session", "user", "key", "membership"]]
] = {
    key_pb.DENIAL_KIND_SESSION: "session",
    key_pb.DENIAL_KIND_USER: "user",
    key_pb.DENIAL_KIND_KEY: "key",
    key_pb.DENIAL_KIND_MEMBERSHIP: "membership",
}


class AuthClient:
    """The kit's ports `KeySource` and `ProjectDirectory`, over a channel to auth-service."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._keys = key_grpc.KeyServiceStub(channel)
        self._membership = membership_grpc.MembershipServiceStub(channel)

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


def _denial(denial: key_pb.Denial) -> Denial:
    kind = DENIAL_KINDS.get(denial.kind)
    if kind is None:
        # Overlooking a denial would let somebody in: rather verify nothing.
        raise Unavailable("meaning of a denial")
    return Denial(
        sequence=denial.sequence,
        kind=kind,
        subject=denial.subject,
        denied_at=denial.denied_at.ToDatetime(tzinfo=UTC),
        expires_at=denial.expires_at.ToDatetime(tzinfo=UTC),
    )
