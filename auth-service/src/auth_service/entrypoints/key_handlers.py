"""gRPC face of what verifiers need: public keys and denials."""

from __future__ import annotations

from typing import Any, Final

import grpc
from weir.auth.v1 import key_service_pb2 as pb
from weir.auth.v1 import key_service_pb2_grpc as pb_grpc

from auth_service.entrypoints import convert
from auth_service.usecases.list_denials import ListDenials
from auth_service.usecases.ports import SigningKeys

Context = grpc.aio.ServicerContext[Any, Any]

RPC_SERVICE: Final = "weir.auth.v1.KeyService"


class KeyHandlers(pb_grpc.KeyServiceServicer):
    """Serves `KeyService`."""

    def __init__(self, signing_keys: SigningKeys, list_denials: ListDenials) -> None:
        self._signing_keys = signing_keys
        self._list_denials = list_denials

    async def ListSigningKeys(
        self, request: pb.ListSigningKeysRequest, context: Context
    ) -> pb.ListSigningKeysResponse:
        keys = self._signing_keys.list_public()
        return pb.ListSigningKeysResponse(
            signing_keys=[convert.signing_key_to_proto(key) for key in keys]
        )

    async def ListDenials(
        self, request: pb.ListDenialsRequest, context: Context
    ) -> pb.ListDenialsResponse:
        denials = await self._list_denials(request.after_sequence)
        last = denials[-1].sequence if denials else request.after_sequence
        return pb.ListDenialsResponse(
            denials=[convert.denial_to_proto(denial) for denial in denials], last_sequence=last
        )
