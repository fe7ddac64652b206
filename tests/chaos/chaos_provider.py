"""A paid provider that takes prompts, counts them, and fails most of them in all ways there are."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.test_utils import TestServer

HANGS_SECONDS = 10.0
MODEL = "smollm2-135m-instruct"
# A tenth is refused at the door, which costs nothing; a fifth is answered.
WAYS = {
    "answers": 2,
    "refuses": 1,
    "hangs": 2,
    "hangs in the answer": 2,
    "hangs up": 2,
    "breaks": 1,
}
ANSWER = "word"


@dataclass
class Provider:
    """What it took, by the id that came along with the prompt."""

    chance: random.Random
    taken: Counter[str] = field(default_factory=Counter)

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Do something with a prompt; whoever is not refused has to pay for it."""
        await request.read()
        (way,) = self.chance.choices(list(WAYS), list(WAYS.values()))
        if way == "refuses":
            return web.Response(status=503)
        self.taken[request.headers["x-client-request-id"]] += 1
        match way:
            case "breaks":
                return web.Response(status=500)
            case "hangs up":
                assert request.transport is not None
                request.transport.close()
                return web.Response()
            case "hangs":
                return await _hang(request)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(_event(choices=[{"index": 0, "delta": {"content": ANSWER}}]))
        if way == "hangs in the answer":
            return await _hang(request)
        stop = {"index": 0, "delta": {}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1}
        await response.write(_event(choices=[stop], usage=usage) + b"data: [DONE]\n\n")
        return response


async def _hang(request: web.Request) -> web.Response:
    """Say nothing more, for longer than anybody waits; who leaves ends this."""
    await asyncio.sleep(HANGS_SECONDS)
    return web.Response()


def _event(**fields: object) -> bytes:
    return b"data: " + json.dumps({"id": "chat-1", **fields}).encode() + b"\n\n"


@asynccontextmanager
async def serving(seed: int) -> AsyncIterator[tuple[Provider, dict[str, str]]]:
    """Give a provider, and the settings with which a router sends it every prompt."""
    provider = Provider(random.Random(seed))
    app = web.Application()
    app.router.add_post("/v1/chat/completions", provider.chat)
    async with TestServer(app) as server:
        yield (
            provider,
            {
                "YOTTA_URL": f"http://127.0.0.1:{server.port}",
                "YOTTA_MODELS": MODEL,
                "YOTTA_OPERATIONS": "chat",
                "YOTTA_FIRST_BYTE_SECONDS": "1",
                "YOTTA_IDLE_SECONDS": "1",
                "COMPLEXITY_THRESHOLD": "0",
                # Left to itself it would keep most prompts away from the provider.
                "BREAKER_FAILURES": "1000",
                "BREAKER_WINDOW_SECONDS": "0.1",
            },
        )
