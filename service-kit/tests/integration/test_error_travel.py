"""An error that a handler raises reaches the caller of any kind of RPC as what it is."""

import asyncio
import gc
from datetime import timedelta

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from service_kit.errors import ErrorCode, InvalidArgument, ServiceError, Unavailable
from service_kit.grpc_errors import rpc_errors


class JobNotFound(ServiceError):
    code = ErrorCode.NOT_FOUND
    reason = "JOB_NOT_FOUND"

    def __init__(self, job_id):
        super().__init__(f"Job {job_id} does not exist.", metadata={"job_id": job_id})


def raising(error):
    async def act(_text):
        raise error

    return act


async def error_of(call, channel, kind, **options):
    with pytest.raises(ServiceError) as caught, rpc_errors():
        await call(channel, kind, **options)
    return caught.value


async def test_reason_survives(channel, call, echo, kind):
    """The caller learns what happened and to which job."""
    echo.act = raising(JobNotFound("j9"))

    error = await error_of(call, channel, kind)

    assert error.code is ErrorCode.NOT_FOUND
    assert error.reason == "JOB_NOT_FOUND"
    assert error.message == "Job j9 does not exist."
    assert error.metadata == {"job_id": "j9"}
    assert error.retry_after is None


async def test_retry_time_survives(channel, call, echo, kind):
    """When to come back crosses the wire to the millisecond."""
    echo.act = raising(Unavailable("database", timedelta(seconds=2, milliseconds=500)))

    error = await error_of(call, channel, kind)

    assert error.code is ErrorCode.UNAVAILABLE
    assert error.retry_after == timedelta(seconds=2.5)


@pytest.mark.parametrize("code", list(ErrorCode))
async def test_every_code_survives(channel, call, echo, code):
    """No code of ours turns into another on the way."""
    error = ServiceError("x", metadata={"ünï": "çødé \n"})
    error.code, error.reason = code, "REASON"
    echo.act = raising(error)

    received = await error_of(call, channel, "unary")

    assert (received.code, received.reason) == (code, "REASON")
    assert received.metadata == {"ünï": "çødé \n"}


async def test_long_error_still_arrives(channel, call, echo):
    """An error with too much to say keeps its code and reason, and as much as fits."""
    values = {"first": "1", "second": "ж" * 900, "third": "3" * 5000}
    echo.act = raising(error := JobNotFound("ж" * 5000))
    error.metadata = values

    received = await error_of(call, channel, "unary")

    assert (received.code, received.reason) == (ErrorCode.NOT_FOUND, "JOB_NOT_FOUND")
    assert received.metadata == {"first": "1", "second": "ж" * 900}
    assert received.message.startswith("Job жж")


async def test_bug_is_hidden(channel, call, echo, kind):
    """A bug reaches the caller as INTERNAL, without its words."""
    echo.act = raising(RuntimeError("the secret word"))

    error = await error_of(call, channel, kind)

    assert (error.code, error.reason) == (ErrorCode.INTERNAL, "INTERNAL")
    assert "secret" not in f"{error.message}{error.metadata}"


async def test_error_crosses_two_hops(channel, call, echo):
    """A service that passes an error on passes all of it on."""

    async def act(text):
        if text == "inner":
            raise JobNotFound("j9")
        with rpc_errors():
            return await call(channel, "unary", "inner")

    echo.act = act

    error = await error_of(call, channel, "unary", text="outer")

    assert (error.reason, error.metadata) == ("JOB_NOT_FOUND", {"job_id": "j9"})


async def test_abort_by_hand_is_kept(channel, call, echo, kind):
    """A handler that ends its call itself (as health checks do) is not overruled."""

    async def act(_text):
        raise InvalidArgument("text", "No.") from JobNotFound("j1")

    echo.act = act

    assert (await error_of(call, channel, kind)).reason == "INVALID_ARGUMENT"


async def test_cancellation_reaches_the_handler(
    channel, echo, call, kind, loopback, counted, becomes
):
    """A caller that gives up stops the work, which is counted as cancelled."""
    started, stopped = asyncio.Event(), asyncio.Event()

    async def act(_text):
        started.set()
        try:
            await asyncio.sleep(3600)
        finally:
            stopped.set()

    echo.act = act
    task = asyncio.ensure_future(call(channel, kind))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(5):
        await stopped.wait()

    assert await becomes(
        lambda: counted(loopback.registry, grpc_method=kind, grpc_code="CANCELLED") == 1
    )


async def test_abandoned_stream_is_closed_in_its_own_task(channel, echo):
    """The `finally` of a generator runs in the handler's task when the client goes away."""
    stream = channel.unary_stream(
        "/test.v1.EchoService/flood",
        request_serializer=StringValue.SerializeToString,
        response_deserializer=StringValue.FromString,
    )(StringValue(value="x"))
    await stream.read()
    await asyncio.sleep(0.1)
    stream.cancel()

    async with asyncio.timeout(5):
        assert await echo.closed.get() is True


async def test_forgotten_call_is_cancelled(channel, echo):
    """A call that its client drops without a word ends at the server too, at once."""
    gc.disable()
    stream = channel.unary_stream(
        "/test.v1.EchoService/flood",
        request_serializer=StringValue.SerializeToString,
        response_deserializer=StringValue.FromString,
    )(StringValue(value="x"))
    async for _ in stream:
        break
    del stream

    async with asyncio.timeout(4):
        await echo.closed.get()
    gc.enable()


async def test_unknown_method_is_no_bug_of_ours(channel):
    """An RPC that nobody serves is an error that callers understand."""
    with pytest.raises(ServiceError) as caught, rpc_errors():
        await channel.unary_unary("/test.v1.EchoService/Nothing")(b"")

    assert caught.value.code is ErrorCode.INTERNAL
    assert isinstance(caught.value.__cause__, grpc.aio.AioRpcError)


async def test_garbage_is_refused_cleanly(channel, call):
    """X-H10: bytes that are no message, and messages over 4 MB, end in an error."""
    with pytest.raises(ServiceError), rpc_errors():
        await channel.unary_unary("/test.v1.EchoService/unary")(b"\xff\xff\xff")
    with pytest.raises(ServiceError) as caught, rpc_errors():
        await call(channel, "unary", "x" * (5 * 1024 * 1024))
    assert caught.value.code is ErrorCode.RESOURCE_EXHAUSTED
    assert await call(channel, "unary", "x" * (3 * 1024 * 1024))
