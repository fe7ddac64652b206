"""A provider that misbehaves by script: a real HTTP server on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from pydantic import SecretStr

from compute_router.adapters.openai_http import OpenAiHttp, ProviderPatience
from compute_router.adapters.openai_models import OpenAiModels
from compute_router.adapters.openai_target import OpenAiTarget, ProviderOffer
from compute_router.domain.operation import Operation
from service_kit.clock import SystemClock

KEY = "key-of-the-cloud-4711"


@dataclass
class Request:
    """What the provider was sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict:
        return json.loads(self.body)


@dataclass
class Exchange:
    """One request, and the connection to answer it on."""

    request: Request
    writer: asyncio.StreamWriter
    reader: asyncio.StreamReader

    async def head(self, status: int, headers: dict[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} X", *(f"{name}: {text}" for name, text in headers.items())]
        await self.write("\r\n".join([*lines, "", ""]).encode())

    async def write(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()

    async def hang(self) -> None:
        """Say nothing more, until the client hangs up."""
        await self.reader.read(1)


Script = Callable[[Exchange], Awaitable[None]]


class Say:
    """What a provider can be told to do. Tests name it `say`."""

    done = b"data: [DONE]\n\n"

    @staticmethod
    def event(value: object) -> bytes:
        return f"data: {json.dumps(value)}\n\n".encode()

    @classmethod
    def chunk(cls, text: str = "", **fields) -> bytes:
        """One event of a chat's stream."""
        choice = {"index": 0, "delta": {"content": text}, **fields}
        return cls.event({"id": "chat-1", "choices": [choice]})

    @classmethod
    def end(cls, reason: str = "stop") -> bytes:
        """The event that says why the answer ends."""
        return cls.chunk(finish_reason=reason)

    @classmethod
    def usage(cls, value: object) -> bytes:
        return cls.event({"id": "chat-1", "choices": [], "usage": value})

    @staticmethod
    def status(code: int, body: bytes = b"", **headers: str) -> Script:
        """Answer with a status and a body, whole."""

        async def answer(exchange: Exchange) -> None:
            await exchange.head(code, {"content-length": str(len(body)), **headers})
            await exchange.write(body)

        return answer

    @staticmethod
    def stream(*events: bytes, hangs: bool = False, is_cut: bool = False, **headers: str) -> Script:
        """Stream the events; then end well, hang, or cut the connection in the middle."""

        async def answer(exchange: Exchange) -> None:
            typed = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
            await exchange.head(200, {**typed, **headers})
            for each in events:
                await exchange.write(b"%x\r\n%s\r\n" % (len(each), each))
            if hangs:
                await exchange.hang()
            elif is_cut:
                exchange.writer.close()
            else:
                await exchange.write(b"0\r\n\r\n")

        return answer

    @classmethod
    def answer(cls, *words: str, usage: object = None) -> Script:
        """A chat as it should be."""
        texts = [cls.chunk(word) for word in words]
        return cls.stream(*texts, cls.end(), cls.usage(usage), cls.done)

    @staticmethod
    async def nothing(exchange: Exchange) -> None:
        """Take the request and stay silent."""
        await exchange.hang()

    @staticmethod
    async def hang_up(exchange: Exchange) -> None:
        """Take the request and close the connection."""
        exchange.writer.close()

    @staticmethod
    def endless(head: bytes, piece: bytes, pause_seconds: float = 0) -> Script:
        """Say something that never ends."""

        async def answer(exchange: Exchange) -> None:
            await exchange.write(head)
            while True:
                await exchange.write(piece)
                await asyncio.sleep(pause_seconds)

        return answer


@dataclass
class Provider:
    """The server: what it will do, and what it saw."""

    url: str = ""
    script: list[Script] = field(default_factory=list)
    """One for each request, in their order; the last one for all others."""
    models: list[str] | None = field(default_factory=lambda: ["small"])
    """`None`: the list can't be had."""
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    open_connections: int = 0

    @property
    def prompts(self) -> list[Request]:
        return [request for request in self.requests if request.method == "POST"]

    def does(self, *script: Script) -> None:
        self.script = list(script)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_connections += 1
        try:
            while not writer.is_closing() and (request := await _request(reader)) is not None:
                self.requests.append(request)
                await self._answer(Exchange(request, writer, reader))
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            self.open_connections -= 1
            writer.close()

    async def _answer(self, exchange: Exchange) -> None:
        if exchange.request.method == "GET":
            if self.models is None:
                await Say.status(500)(exchange)
                return
            rows = [{"id": name, "object": "model"} for name in self.models]
            await Say.status(200, json.dumps({"object": "list", "data": rows}).encode())(exchange)
            return
        await (self.script.pop(0) if len(self.script) > 1 else self.script[0])(exchange)


async def _request(reader: asyncio.StreamReader) -> Request | None:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, path, _ = first.split(" ")
    headers = {
        name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines)
    }
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, path, headers, body)


@pytest.fixture
def say() -> type[Say]:
    return Say


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """A provider that answers well until it is told otherwise."""
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    provider = Provider(script=[Say.answer("Hello", " world", usage=usage)])
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0, limit=2**20)
    provider.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield provider


@pytest.fixture
async def make_target(provider) -> AsyncIterator[Callable[..., OpenAiTarget]]:
    """A callable: patience and slots -> a target over the provider."""
    opened: list[OpenAiHttp] = []

    def make(url: str = "", slots: int = 100, **patience: float) -> OpenAiTarget:
        seconds = {
            "connect_seconds": 30.0,
            "first_byte_seconds": 30.0,
            "idle_seconds": 30.0,
            "total_seconds": 60.0,
            **patience,
        }
        http = OpenAiHttp(
            url or provider.url, SecretStr(KEY), ProviderPatience(**seconds), slots + 1
        )
        opened.append(http)
        offer = ProviderOffer("yotta", 1000, 64, tuple(Operation), slots)
        return OpenAiTarget(offer, http, OpenAiModels("yotta", http, ["small"]), SystemClock())

    yield make
    for http in opened:
        await http.close()
