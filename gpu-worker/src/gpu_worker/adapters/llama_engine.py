"""The engine that really infers: llama.cpp, streaming, several prompts batched."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Self, TypeVar

import structlog

from gpu_worker.adapters.chunk_reader import Chunk, ChunkReader
from gpu_worker.adapters.llama_server import LlamaOptions, LlamaServer, as_body
from gpu_worker.adapters.template_overhead import measure_overhead
from gpu_worker.domain.errors import EngineFailed
from gpu_worker.domain.generation import EngineEvent
from gpu_worker.domain.model import TemplateOverhead
from gpu_worker.domain.prompt import Prompt

T = TypeVar("T")

log = structlog.get_logger(__name__)

# Chunks that may wait for a slow reader before the engine's thread waits too.
BUFFERED_CHUNKS: Final = 64
_LOOK_EVERY_SECONDS: Final = 0.1
_LARGEST_SEED: Final = 2**32 - 2  # the one above means "random" to llama.cpp


class LlamaEngine:
    """Runs prompts on a `LlamaServer`, one thread per slot.

    xllamacpp calls back in the thread that asked; chunks cross to the event
    loop through a bounded queue.
    """

    def __init__(self, server: LlamaServer, *, slots: int, default_max_tokens: int) -> None:
        self._server = server
        self._default_max_tokens = default_max_tokens
        self._threads = ThreadPoolExecutor(slots + 1, thread_name_prefix="llama")

    @classmethod
    async def load(cls, options: LlamaOptions, *, default_max_tokens: int) -> Self:
        """Load the model.

        Raises:
            EngineUnusable: A library is missing, or the file holds no model.
        """
        server = await asyncio.to_thread(LlamaServer, options)
        return cls(server, slots=options.slots, default_max_tokens=default_max_tokens)

    @property
    def uses_gpu(self) -> bool:
        return self._server.uses_gpu

    @property
    def context_tokens(self) -> int:
        """Tokens of prompt and answer that fit in a slot."""
        return self._server.context_tokens

    async def overhead(self) -> TemplateOverhead:
        """Measure what the chat template adds to prompts."""
        return await self._in_thread(measure_overhead, self._server.render, self._server.count)

    async def generate(self, prompt: Prompt) -> AsyncGenerator[EngineEvent, None]:
        chunks = _Chunks(asyncio.get_running_loop())
        work = self._in_thread(self._server.chat, self._body_of(prompt), chunks.put)
        work.add_done_callback(lambda _: chunks.end())
        reader = ChunkReader()
        try:
            while (chunk := await chunks.get()) is not None:
                for event in reader.read(chunk):
                    yield event
            await work
        finally:
            chunks.stop()
            # The slot is free only once the engine has let go of the prompt. What it says
            # about a prompt that nobody waits for any more is of no use.
            await asyncio.gather(work, return_exceptions=True)
        if chunks.error is not None:
            raise EngineFailed from chunks.error
        if not reader.ended:
            raise EngineFailed

    async def count_tokens(self, text: str) -> int:
        return await self._in_thread(self._server.count, text)

    async def close(self) -> None:
        """Wait for the prompts that run (stopped ones end soon), then unload the model."""
        await asyncio.to_thread(self._threads.shutdown)
        await asyncio.to_thread(self._server.close)

    def _in_thread(self, function: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    def _body_of(self, prompt: Prompt) -> dict[str, Any]:
        sampling = prompt.sampling
        body: dict[str, Any] = {
            "messages": as_body(prompt.messages),
            "max_tokens": sampling.max_tokens or self._default_max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
            # Exact token counts on every chunk, and chunks also while the prompt is read,
            # so that it can be stopped then.
            "timings_per_token": True,
            "return_progress": True,
        }
        optional = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": None if sampling.seed is None else sampling.seed % (_LARGEST_SEED + 1),
            "stop": list(sampling.stop) or None,
            "frequency_penalty": sampling.frequency_penalty,
            "presence_penalty": sampling.presence_penalty,
        }
        return body | {name: value for name, value in optional.items() if value is not None}


class _Chunks:
    """Carries chunks from the engine's thread to the event loop."""

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
