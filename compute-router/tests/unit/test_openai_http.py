"""HTTP to a provider: what proves that nothing was sent."""

import asyncio
from contextlib import aclosing

import httpx
import pytest

from compute_router.adapters.openai_http import Broken, NotSent, OpenAiHttp, ProviderPatience


@pytest.fixture
async def http():
    patience = ProviderPatience(connect_seconds=0.1)
    http = OpenAiHttp("http://yotta.test", None, patience, 1)
    yield http
    await http.close()


@pytest.fixture
def fails(http, monkeypatch):
    """A callable: what the client traces, and its error -> what callers are told."""

    async def ask(error: Exception | None, *events: str) -> type[Exception]:
        async def send(request, **_):
            for event in events:
                await request.extensions["trace"](event, {})
            if error is None:
                await asyncio.Event().wait()
            raise error

        monkeypatch.setattr(http._client, "send", send)
        with pytest.raises((NotSent, Broken)) as caught:
            async with http.asked("POST", "/v1/chat/completions", {}):
                pytest.fail("nobody answered")
        return caught.type

    return ask


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("x"), httpx.ConnectTimeout("x"), httpx.PoolTimeout("x"), None]
)
async def test_no_connection_is_the_proof(fails, error):
    """Also where our own deadline ends the attempt to connect."""
    assert await fails(error, "connection.connect_tcp.started") is NotSent


@pytest.mark.parametrize(
    "error",
    [
        httpx.ReadError("x"),
        httpx.WriteError("x"),
        httpx.ReadTimeout("x"),
        httpx.RemoteProtocolError("x"),
        httpx.LocalProtocolError("x"),
    ],
)
async def test_any_other_error_proves_nothing(fails, error):
    """Even if the event of sending was not seen."""
    assert await fails(error, "connection.connect_tcp.started") is Broken
    assert await fails(error) is Broken


@pytest.mark.parametrize("event", ["http11.send_request_headers.started", "http3.new_words"])
async def test_what_is_traced_beyond_the_connection_counts_as_sent(fails, event):
    """Whatever error follows; also an event that this release does not know."""
    assert await fails(httpx.ConnectError("x"), event) is Broken


async def test_sending_is_traced():
    """What the proof rests on: the client tells of the connection, then of the request."""
    seen = []

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 X\r\ncontent-length: 99\r\n\r\nthe beginning")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    http = OpenAiHttp(url, None, ProviderPatience(), 1)
    send = http._client.send

    async def watched(request, **options):
        trace = request.extensions["trace"]

        async def note(event, values):
            seen.append(event)
            await trace(event, values)

        request.extensions["trace"] = note
        return await send(request, **options)

    http._client.send = watched
    async with server, aclosing(_bodies(http)) as bodies:
        assert await anext(bodies) == b"the beginning"
    await http.close()

    sent = seen.index("http11.send_request_headers.started")
    assert sent > 0
    assert all(event.startswith("connection.") for event in seen[:sent])


async def _bodies(http):
    async with http.asked("POST", "/v1/x", {}) as answer:
        yield await answer.beginning(1000)
