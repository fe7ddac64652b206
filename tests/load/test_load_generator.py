"""A figure is only as good as what measured it."""

from __future__ import annotations

import asyncio

import pytest
from load_generator import Load, generate, percentile


class Server:
    """Answers every request with one status, and counts them."""

    def __init__(self) -> None:
        self.status = 200
        self.requests = 0
        self.most_at_once = 0
        self._at_once = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            self.requests += 1
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            await asyncio.sleep(0.001)
            self._at_once -= 1
            writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 2\r\n\r\nno" % self.status)


@pytest.fixture
async def server():
    """A server in this process; `server.url` is its address."""
    answering = Server()
    tasks = set()

    async def serve(reader, writer):
        tasks.add(asyncio.current_task())
        try:
            await answering.serve(reader, writer)
        except asyncio.IncompleteReadError:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    answering.url = f"http://127.0.0.1:{port}/"
    yield answering
    listening.close()
    await asyncio.gather(*tasks)


async def test_sends_as_many_as_asked(server):
    """A number of requests is that number, from as many clients as wanted."""
    measured = await generate(Load(server.url, clients=4, requests=20))

    assert (measured.requests, server.requests, server.most_at_once) == (20, 20, 4)
    assert measured.errors == {}
    assert measured.per_second == pytest.approx(20 / measured.seconds)
    assert 1 <= measured.p50_ms <= measured.p99_ms


async def test_warm_up_does_not_count(server):
    """What is sent to warm up is in no figure, and time is kept."""
    measured = await generate(Load(server.url, clients=2, seconds=0.05, warm_up_seconds=0.05))

    assert 0 < measured.requests < server.requests
    assert measured.seconds >= 0.05


async def test_every_wrong_answer_is_told(server):
    """Another status than the expected one is an error, with what the server said."""
    server.status = 503

    measured = await generate(Load(server.url, clients=1, requests=3))

    assert measured.errors == {"503 no": 3}


async def test_no_answer_is_an_error():
    """A server that is away makes errors, not an exception."""
    measured = await generate(Load("http://127.0.0.1:9/", clients=1, requests=2))

    assert measured.errors == {"ClientConnectorError": 2}


def test_percentiles():
    """A percentile is a value that was measured: 99 of 100 are not above the p99."""
    values = [float(value) for value in range(100, 0, -1)]

    assert [percentile(values, share) for share in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]
    assert percentile([7.0], 0.99) == 7.0
    assert percentile([], 0.5) == 0.0
