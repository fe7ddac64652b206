"""A call that a client made: counted when it begins and ends, and ended when nobody waits for it.

grpc.aio leaves an RPC running if its caller is cancelled at an unlucky moment,
until the call object is collected.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from typing import Any

import grpc

from service_kit.metrics import GrpcMetrics


class Outcome:
    """Records how a call ended, once."""

    def __init__(self, metrics: GrpcMetrics, method: str) -> None:
        self._metrics = metrics
        self._method = method
        self._started = time.perf_counter()
        self._recorded = False
        metrics.started(method)

    def record(self, code: grpc.StatusCode) -> None:
        """Count the call, unless it is counted already."""
        if not self._recorded:
            self._recorded = True
            seconds = time.perf_counter() - self._started
            self._metrics.finished(self._method, code.name, seconds)

    @contextmanager
    def of(self, call: Any) -> Generator[None]:
        """Record an end by exception, and leave no call running behind it."""
        try:
            yield
        except grpc.aio.AioRpcError as error:
            self.record(error.code())
            raise
        except BaseException:
            self.record(grpc.StatusCode.CANCELLED)
            call.cancel()
            raise


class ObservedCall:
    """Stands for a call of any of the four kinds; what is not here is the call's own."""

    def __init__(self, call: Any, outcome: Outcome) -> None:
        self._call = call
        self._outcome = outcome
        self._responses: AsyncIterator[Any] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    def __await__(self) -> Generator[Any, None, Any]:
        with self._outcome.of(self._call):
            response = yield from self._call.__await__()
        self._outcome.record(grpc.StatusCode.OK)
        return response

    def __aiter__(self) -> AsyncIterator[Any]:
        if self._responses is None:
            # Not a method: what it holds must not hold us, or nothing is collected in time.
            self._responses = _responses(self._call, self._outcome)
        return self._responses

    async def read(self) -> Any:
        with self._outcome.of(self._call):
            response = await self._call.read()
        if response is grpc.aio.EOF:
            self._outcome.record(grpc.StatusCode.OK)
        return response

    def cancel(self) -> bool:
        self._outcome.record(grpc.StatusCode.CANCELLED)
        return bool(self._call.cancel())


async def _responses(call: Any, outcome: Outcome) -> AsyncIterator[Any]:
    with outcome.of(call):
        async for response in call:
            yield response
    outcome.record(grpc.StatusCode.OK)
