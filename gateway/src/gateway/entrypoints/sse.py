"""Writes server-sent events, without collecting any."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from starlette.types import Message, Send

_KEEP_ALIVE: Final = b": keep-alive\n\n"


class SseWriter:
    """A response of server-sent events under way. Two tasks may write to it, never at once.

    A write returns once the connection took it, so whoever writes is as slow
    as whoever reads.

    Args:
        send: Where to.
        headers: Asked when the first byte is written.
    """

    def __init__(self, send: Send, headers: Callable[[], Mapping[str, str]]) -> None:
        self.begun = False
        self._send = send
        self._headers = headers
        self._writing = asyncio.Lock()
        self._last_write = 0.0

    async def write(self, body: bytes, *, more: bool = True) -> None:
        """Send some events, after the head if nothing was sent before."""
        async with self._writing:
            if not self.begun:
                self.begun = True
                await self._send(self._head())
            self._last_write = asyncio.get_running_loop().time()
            await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def end(self) -> None:
        """End the response."""
        await self.write(b"", more=False)

    async def keep_alive(self, every_seconds: float) -> None:
        """Begin the response if need be, and never let it be silent for longer."""
        if not self.begun:
            await self.write(b"")
        loop = asyncio.get_running_loop()
        while True:
            silent = loop.time() - self._last_write
            if silent >= every_seconds:
                await self.write(_KEEP_ALIVE)
                silent = 0.0
            await asyncio.sleep(every_seconds - silent)

    def _head(self) -> Message:
        headers = {
            "content-type": "text/event-stream; charset=utf-8",
            # Proxies must not collect it.
            "x-accel-buffering": "no",
            **self._headers(),
        }
        return {
            "type": "http.response.start",
            "status": 200,
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
