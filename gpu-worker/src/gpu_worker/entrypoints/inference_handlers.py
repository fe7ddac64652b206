"""gRPC face of the engine: convert, call, convert back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
from weir.worker.v1 import inference_service_pb2 as pb
from weir.worker.v1 import inference_service_pb2_grpc as pb_grpc

from gpu_worker.entrypoints import convert
from gpu_worker.entrypoints.delta_batches import in_batches
from gpu_worker.usecases.count_tokens import CountTokens
from gpu_worker.usecases.generate import Generate


class InferenceHandlers(pb_grpc.InferenceServiceServicer):
    def __init__(self, generate: Generate, count_tokens: CountTokens) -> None:
        self._generate = generate
        self._count_tokens = count_tokens

    async def Generate(
        self, request: pb.GenerateRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.GenerateResponse]:
        # Closed when the caller goes away, which stops the engine.
        generation = self._generate(convert.prompt_from_proto(request))
        async with aclosing(in_batches(generation)) as events:
            async for event in events:
                yield convert.event_to_proto(event)

    async def CountTokens(
        self, request: pb.CountTokensRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.CountTokensResponse:
        return pb.CountTokensResponse(tokens=await self._count_tokens(request.text))
