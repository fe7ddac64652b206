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


class WrappingInterceptor(grpc.aio.ServerInterceptor):
    """Runs every call inside `around`."""

    @abstractmethod
    def around(self, method: str, context: Context) -> AbstractAsyncContextManager[None]:
        """Return what to enter before the handler and leave after it.

        Args:
            method: The full name of the RPC, as in "/weir.job.v1.JobService/CancelJob".
            context: The call.
        """

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        kind = _KINDS[handler.request_streaming, handler.response_streaming]
        behaviour = getattr(handler, kind)
        method = handler_call_details.method
        if not handler.response_streaming or inspect.iscoroutinefunction(behaviour):
            # A coroutine returns its response, or writes to the context.
            wrapped: Any = self._wrap_coroutine(method, behaviour)
        else:
            wrapped = self._wrap_generator(method, behaviour)
        result: Handler = getattr(grpc, f"{kind}_rpc_method_handler")(
            wrapped, handler.request_deserializer, handler.response_serializer
        )
        return result

    def _wrap_coroutine(
        self, method: str, behaviour: Callable[[Any, Context], Awaitable[Any]]
    ) -> Callable[[Any, Context], Awaitable[Any]]:
        async def wrapped(request: Any, context: Context) -> Any:
            async with self.around(method, context):
                return await behaviour(request, context)

        return wrapped

    def _wrap_generator(
        self, method: str, behaviour: Callable[[Any, Context], Any]
    ) -> Callable[[Any, Context], Any]:
        async def wrapped(request: Any, context: Context) -> AsyncIterator[Any]:
            async with self.around(method, context), aclosing(behaviour(request, context)) as items:
                async for item in items:
                    yield item

        return wrapped


class StreamCloser(grpc.aio.ServerInterceptor):
    """Closes a handler's generator in the handler's own task when the call ends early.

    Without it a generator whose client went away stays suspended until it is
    collected, and its `finally` runs in some other task. It must be the outermost.
    """

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        handler = await continuation(handler_call_details)
        if handler is None or not handler.response_streaming:
            return handler
        kind = _KINDS[handler.request_streaming, True]
        behaviour = getattr(handler, kind)
        if not inspect.isasyncgenfunction(behaviour):
            return handler

        async def write_all(request: Any, context: Context) -> None:
            async with aclosing(behaviour(request, context)) as items:
                async for item in items:
                    await context.write(item)

        result: Handler = getattr(grpc, f"{kind}_rpc_method_handler")(
            write_all, handler.request_deserializer, handler.response_serializer
        )
        return result
