"""Wraps gRPC handlers of all four kinds in an async context manager.

An interceptor of ours is one method, `around`. It is entered in the task that
runs the handler, so the context variables it sets are seen by the handler, also
by one that is an async generator; and what the handler raises, it sees.
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import grpc

if TYPE_CHECKING:
    Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
    Handler: TypeAlias = grpc.RpcMethodHandler[Any, Any]
else:
    # Generic in the type stubs alone.
    Context = grpc.aio.ServicerContext
    Handler = grpc.RpcMethodHandler

# (request streams, response streams) -> the name that grpc gives such a handler
_KINDS: Final = {
    (False, False): "unary_unary",
    (False, True): "unary_stream",
    (True, False): "stream_unary",
    (True, True): "stream_stream",
}


class _CachingInterceptor(grpc.aio.ServerInterceptor):
    """Replaces every handler, once per method rather than once per call."""

    def __init__(self) -> None:
        self._replaced: dict[str, tuple[Handler, Handler]] = {}

    @abstractmethod
    def replace(self, method: str, handler: Handler) -> Handler:
        """Return the handler to run instead."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        known = self._replaced.get(method)
        if known is None or known[0] is not handler:
            known = self._replaced[method] = (handler, self.replace(method, handler))
        return known[1]


class WrappingInterceptor(_CachingInterceptor):
    """Runs every call inside `around`."""

    @abstractmethod
    def around(self, method: str, context: Context) -> AbstractAsyncContextManager[None]:
        """Return what to enter before the handler and leave after it.

        Args:
            method: The full name of the RPC, as in "/weir.job.v1.JobService/CancelJob".
            context: The call.
        """

    def replace(self, method: str, handler: Handler) -> Handler:
        kind, behaviour = _behaviour(handler)

        async def in_coroutine(request: Any, context: Context) -> Any:
            async with self.around(method, context):
                return await behaviour(request, context)

        async def in_generator(request: Any, context: Context) -> AsyncIterator[Any]:
            async with self.around(method, context), aclosing(behaviour(request, context)) as items:
                async for item in items:
                    yield item

        # A coroutine returns its one response, or writes them to the context.
        is_generator = inspect.isasyncgenfunction(behaviour)
        return _like(handler, kind, in_generator if is_generator else in_coroutine)


class StreamCloser(_CachingInterceptor):
    """Closes a handler's generator in the handler's own task when the call ends early.

    Without it a generator whose client went away stays suspended until it is
    collected, and its `finally` runs in some other task. It must be the outermost.
    """

    def replace(self, _method: str, handler: Handler) -> Handler:
        kind, behaviour = _behaviour(handler)
        if not inspect.isasyncgenfunction(behaviour):
            return handler

        async def write_all(request: Any, context: Context) -> None:
            async with aclosing(behaviour(request, context)) as items:
                async for item in items:
                    await context.write(item)

        return _like(handler, kind, write_all)


def _behaviour(handler: Handler) -> tuple[str, Callable[[Any, Context], Any]]:
    kind = _KINDS[handler.request_streaming, handler.response_streaming]
    return kind, getattr(handler, kind)


def _like(handler: Handler, kind: str, behaviour: Any) -> Handler:
    made: Handler = getattr(grpc, f"{kind}_rpc_method_handler")(
        behaviour, handler.request_deserializer, handler.response_serializer
    )
    return made
