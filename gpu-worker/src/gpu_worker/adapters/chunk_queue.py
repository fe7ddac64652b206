"""Carries chunks from the engine's thread to the event loop, and the wish to stop back."""

from __future__ import annotations

import asyncio
import threading
from typing import Final

from gpu_worker.adapters.chunk_reader import Chunk

# Chunks that may wait for a slow reader before the engine's thread waits too.
BUFFERED_CHUNKS: Final = 64
_LOOK_EVERY_SECONDS: Final = 0.1


class ChunkQueue:
    """A bounded queue with one end in each world."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: asyncio.Queue[Chunk | None] = asyncio.Queue()
        self._room = threading.Semaphore(BUFFERED_CHUNKS)
        self._stopped = False
        self.error: Exception | None = None

    def put(self, chunk: Chunk) -> bool:
        """Pass a chunk on; called in the engine's thread. `True` stops the engine."""
        try:
            while not self._stopped:
                if self._room.acquire(timeout=_LOOK_EVERY_SECONDS):
                    self._loop.call_soon_threadsafe(self._queue.put_nowait, chunk)
                    break
        except Exception as error:  # xllamacpp would swallow it and go on
            self.error = error
            return True
        return self._stopped

    def end(self) -> None:
        """Say that no chunk follows; called in the event loop."""
        self._queue.put_nowait(None)

    async def get(self) -> Chunk | None:
        """Return the next chunk, or `None` after the last one."""
        chunk = await self._queue.get()
        self._room.release()
        return chunk

    def stop(self) -> None:
        self._stopped = True
