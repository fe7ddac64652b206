"""A small RPC service of every kind, behind real mutual TLS on loopback."""

import asyncio
from contextlib import asynccontextmanager, suppress

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from service_kit import request_context
from service_kit.testing.pki import Authority
from service_kit.testing.rpc import serving_loopback

SERVICE = "test.v1.EchoService"
KINDS = ("unary", "server_stream", "writing_stream", "client_stream", "both_streams")


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """Who signs the certificates in the tests."""
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def pki(authority):
    """Certificates of the services that appear in the tests."""
    names = ["job-service", "gateway", "cost-service", "gpu-worker/w1", "gpu-worker/w2"]
    return {name: authority.issue(name) for name in names}


class Echo:
    """Does what the test put into `act`, in a handler of each kind.

    `act(text)` may return the text of the response, or raise. Streams send the
    request's text first, then what `act` returns.
    """

    def __init__(self):
        self.act = self.describe
        self.closed = asyncio.Queue()

    async def describe(self, _text):
        """Return what the handler knows of its request."""
        caller = request_context.find_caller()
        return "|".join(
            [
                request_context.request_id(),
                request_context.peer().service,
                request_context.peer().instance,
                caller.user_id if caller else "",
            ]
        )

    async def unary(self, request, _context):
        try:
            return StringValue(value=await self.act(request.value))
        finally:
            self.closed.put_nowait(asyncio.current_task())

    async def server_stream(self, request, _context):
        task = asyncio.current_task()
        try:
            yield StringValue(value=request.value)
            yield StringValue(value=await self.act(request.value))
        finally:
            self.closed.put_nowait(asyncio.current_task() is task)

    async def flood(self, _request, _context):
        """Send without end; who does not read leaves this suspended at its `yield`."""
        task = asyncio.current_task()
        try:
            while True:
                yield StringValue(value="x" * 100_000)
        finally:
            self.closed.put_nowait(asyncio.current_task() is task)

    async def writing_stream(self, request, context):
        try:
            await context.write(StringValue(value=request.value))
            await context.write(StringValue(value=await self.act(request.value)))
        finally:
            self.closed.put_nowait(asyncio.current_task())

    async def client_stream(self, requests, _context):
        last = ""
        async for request in requests:
            last = request.value
        return StringValue(value=await self.act(last))

    async def both_streams(self, requests, _context):
        async for request in requests:
            yield request
            yield StringValue(value=await self.act(request.value))

    def register(self, server):
        """Add the service, under the full names /test.v1.EchoService/<kind>."""
        form = {
            "request_deserializer": StringValue.FromString,
            "response_serializer": StringValue.SerializeToString,
        }
        handlers = {
            "unary": grpc.unary_unary_rpc_method_handler(self.unary, **form),
            "server_stream": grpc.unary_stream_rpc_method_handler(self.server_stream, **form),
            "flood": grpc.unary_stream_rpc_method_handler(self.flood, **form),
            "writing_stream": grpc.unary_stream_rpc_method_handler(self.writing_stream, **form),
            "client_stream": grpc.stream_unary_rpc_method_handler(self.client_stream, **form),
            "both_streams": grpc.stream_stream_rpc_method_handler(self.both_streams, **form),
        }
        server.add_registered_method_handlers(SERVICE, handlers)


@pytest.fixture(params=KINDS)
def kind(request):
    """Each kind of RPC in turn."""
    return request.param


@pytest.fixture(name="call")
def call_fixture():
    """Make one call of a kind and return the text of the last response."""
    return call


@pytest.fixture(name="becomes")
def becomes_fixture():
    """Wait until a condition holds: a call is counted a moment after its answer is sent."""
    return becomes


@pytest.fixture(name="counted")
def counted_fixture():
    """Count the finished calls with certain labels, in a registry."""
    return counted


async def call(channel, kind, text="hello", **options):
    form = {
        "request_serializer": StringValue.SerializeToString,
        "response_deserializer": StringValue.FromString,
    }
    path, request = f"/{SERVICE}/{kind}", StringValue(value=text)
    if kind == "unary":
        return (await channel.unary_unary(path, **form)(request, **options)).value
    if kind == "client_stream":
        return (await channel.stream_unary(path, **form)(iter([request]), **options)).value
    if kind == "both_streams":
        stream = channel.stream_stream(path, **form)(**options)
        # It may be refused before the request was written: reading tells why.
        with suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
            await stream.write(request)
            await stream.done_writing()
    else:
        stream = channel.unary_stream(path, **form)(request, **options)
    received = [response.value async for response in stream]
    return received[-1]


@pytest.fixture
def echo():
    return Echo()


@pytest.fixture
def serving_echo(pki, echo):
    """Serve the echo service as job-service; the gateway and workers may call it."""

    @asynccontextmanager
    async def serve(**options):
        allowed = {SERVICE: ["gateway", "gpu-worker"]}
        async with serving_loopback(
            pki, "job-service", echo.register, **{"allowed_callers": allowed, **options}
        ) as loopback:
            yield loopback

    return serve


@pytest.fixture
async def loopback(serving_echo):
    async with serving_echo() as served:
        yield served


@pytest.fixture
async def channel(loopback):
    async with loopback.channel_as("gateway") as opened:
        yield opened


def counted(registry, side="server", **labels):
    return sum(
        sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == f"grpc_{side}_handled_total"
        and all(sample.labels[name] == value for name, value in labels.items())
    )


async def becomes(condition):
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 -- a condition with a deadline
            await asyncio.sleep(0.005)
    return True
