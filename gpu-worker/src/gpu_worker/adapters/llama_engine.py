"""The engine that really infers: llama.cpp, streaming, several prompts batched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, Self, TypeVar

from gpu_worker.adapters.chunk_queue import ChunkQueue
from gpu_worker.adapters.chunk_reader import ChunkReader
from gpu_worker.adapters.embedding_process import EmbeddingOptions
from gpu_worker.adapters.llama_embedder import LlamaEmbedder
from gpu_worker.adapters.llama_server import LlamaOptions, LlamaServer, as_body
from gpu_worker.adapters.template_overhead import measure_overhead
from gpu_worker.domain.errors import EngineFailed, PromptTooLong
from gpu_worker.domain.generation import (
    Accepted,
    Embedding,
    Ended,
    EngineEvent,
    FinishReason,
    Usage,
)
from gpu_worker.domain.model import TemplateOverhead
from gpu_worker.domain.prompt import Operation, Prompt

T = TypeVar("T")

_LARGEST_SEED: Final = 2**32 - 2  # the one above means "random" to llama.cpp


class LlamaEngine:
    """Runs prompts on a `LlamaServer`, one thread per slot.

    xllamacpp calls back in the thread that asked; chunks cross to the event
    loop through a bounded queue. Vectors come from a `LlamaEmbedder`.
    """

    def __init__(
        self,
        server: LlamaServer,
        embedder: LlamaEmbedder,
        *,
        slots: int,
        default_max_tokens: int,
    ) -> None:
        self._server = server
        self._embedder = embedder
        self._default_max_tokens = default_max_tokens
        self._threads = ThreadPoolExecutor(slots + 1, thread_name_prefix="llama")

    @classmethod
    async def load(
        cls, options: LlamaOptions, *, default_max_tokens: int, embedding_context_tokens: int
    ) -> Self:
        """Load the model. For embeddings it is loaded again, with the first of them.

        Raises:
            EngineUnusable: A library is missing, or the file holds no model.
        """
        server = await asyncio.to_thread(LlamaServer, options)
        embedder = LlamaEmbedder(
            EmbeddingOptions(
                path=str(options.path),
                threads=options.threads,
                context_tokens=min(server.context_tokens, embedding_context_tokens),
            )
        )
        return cls(server, embedder, slots=options.slots, default_max_tokens=default_max_tokens)

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

    def generate(self, prompt: Prompt) -> AsyncGenerator[EngineEvent, None]:
        if prompt.operation is Operation.EMBEDDING:
            return self._embed(prompt)
        return self._write(prompt)

    async def _write(self, prompt: Prompt) -> AsyncGenerator[EngineEvent, None]:
        """Answer a conversation, or continue a text."""
        chat = prompt.operation is Operation.CHAT
        run = self._server.chat if chat else self._server.complete
        chunks = ChunkQueue(asyncio.get_running_loop())
        work = self._in_thread(run, self._body_of(prompt), chunks.put)
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

    async def _embed(self, prompt: Prompt) -> AsyncGenerator[EngineEvent, None]:
        limit = self._embedder.options.context_tokens
        for text in prompt.inputs:
            tokens = await self._in_thread(partial(self._server.count, text, with_special=True))
            if tokens > limit:
                raise PromptTooLong(tokens, limit)
        yield Accepted()
        tokens_input = 0
        for index, text in enumerate(prompt.inputs):
            vector = await self._embedder.embed(text)
            tokens_input += vector.tokens
            yield Embedding(index, vector.values)
        yield Ended(FinishReason.STOP, Usage(tokens_input, tokens_output=0))

    async def count_tokens(self, text: str) -> int:
        return await self._in_thread(self._server.count, text)

    async def close(self) -> None:
        """Wait for the prompts that run (stopped ones end soon), then unload the model."""
        await self._embedder.close()
        await asyncio.to_thread(self._threads.shutdown)
        await asyncio.to_thread(self._server.close)

    def _in_thread(self, function: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    def _body_of(self, prompt: Prompt) -> dict[str, Any]:
        sampling = prompt.sampling
        asked: dict[str, Any] = (
            {"messages": as_body(prompt.messages)}
            if prompt.operation is Operation.CHAT
            else {"prompt": prompt.inputs[0]}
        )
        body: dict[str, Any] = asked | {
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
