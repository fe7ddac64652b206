"""Vectors of texts from a process of their own, which is started on first use.

Two things need it. llama.cpp can't be interrupted inside of a batch, and a vector
wants its whole text in one: a process can be ended at any moment. And xllamacpp
holds Python's lock while it loads a model: there it holds up nobody.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

import structlog

from gpu_worker.adapters.chunk_reader import engine_error
from gpu_worker.adapters.embedding_process import MODULE, EmbeddingOptions
from gpu_worker.domain.errors import EngineFailed

log = structlog.get_logger(__name__)

_GRACE_SECONDS: Final = 0.4
_LONGEST_LINE_BYTES: Final = 2**24
# What the machine tells its processes about itself. The worker's own settings stay here.
_FROM_THE_WORKER: Final = ("PATH", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH")
_FROM_THE_WORKER_BY_PREFIX: Final = ("CUDA_", "NVIDIA_", "GGML_", "GOMP_", "OMP_", "PYTHON")


@dataclass(frozen=True, slots=True)
class Vector:
    """A vector of length 1, and the tokens of the text that it stands for."""

    values: tuple[float, ...]
    tokens: int


class LlamaEmbedder:
    """Makes vectors, one after the other.

    Args:
        options: How to load the model.
        grace_seconds: A text that nobody waits for any more may take this long, before its
            process is ended.
    """

    def __init__(self, options: EmbeddingOptions, *, grace_seconds: float = _GRACE_SECONDS) -> None:
        self.options = options
        self.grace_seconds = grace_seconds
        self._child: EmbeddingChild | None = None
        self._turn = asyncio.Lock()

    @property
    def busy(self) -> bool:
        """Whether a text is being worked on."""
        return self._child is not None and self._child.busy

    @property
    def process_id(self) -> int | None:
        """The process, if it runs."""
        return None if self._child is None or self._child.ended else self._child.process_id

    async def embed(self, text: str) -> Vector:
        """Return the vector of a text of `context_tokens` at most.

        A cancelled wait for it ends the work on it too.

        Raises:
            PromptRefused: The engine can't take the text.
            EngineFailed: The process could not load the model, or ended twice.
        """
        async with self._turn:
            try:
                return await self._embed(text)
            except ChildEnded:
                # llama.cpp crashes, rarely, and nothing is lost by trying once more.
                log.warning("embeddings.process_started_again")
            return await self._embed(text)

    async def _embed(self, text: str) -> Vector:
        child = await self._start_and_load()
        try:
            return await child.embed(text)
        except asyncio.CancelledError:
            await child.let_go(self.grace_seconds)
            raise

    async def _start_and_load(self) -> EmbeddingChild:
        if self._child is None or self._child.ended:
            self._child = await EmbeddingChild.start(self.options)
        await self._child.wait_until_loaded()
        return self._child

    async def close(self) -> None:
        """End the process. Nothing may be running."""
        if self._child is not None:
            await self._child.end()


class ChildEnded(EngineFailed):
    """The process ended without an answer."""


class EmbeddingChild:
    """The worker's end of an embedding process."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._stdin, self._stdout = process.stdin, process.stdout
        self._loaded = False
        self.busy = False
        self.process_id = process.pid

    @property
    def ended(self) -> bool:
        return self._process.returncode is not None

    @classmethod
    async def start(cls, options: EmbeddingOptions) -> Self:
        """Start the process, which begins to load the model."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            MODULE,
            stdin=PIPE,
            stdout=PIPE,
            limit=_LONGEST_LINE_BYTES,
            env=_environment(),
            # A signal to the worker's terminal is the worker's: it lets this one finish.
            start_new_session=True,
        )
        child = cls(process)
        child._say(asdict(options))
        return child

    async def wait_until_loaded(self) -> None:
        """Return when texts can be taken. Giving up does not stop the loading.

        Raises:
            EngineFailed: The model can't be loaded; why is logged.
        """
        if self._loaded:
            return
        answer = await self._answer()
        if "unusable" in answer:
            log.error("embeddings.unusable", error=answer["unusable"])
            await self.end()
            raise EngineFailed
        self._loaded = True
        log.info("embeddings.loaded", process_id=self.process_id)

    async def embed(self, text: str) -> Vector:
        self.busy = True
        try:
            self._say(text)
            await self._stdin.drain()
            answer = await self._answer()
        except ConnectionError as error:
            raise await self._failed() from error
        finally:
            self.busy = False
        if "error" in answer:
            raise engine_error(answer["error"])
        return Vector(tuple(answer["values"]), answer["tokens"])

    async def let_go(self, grace_seconds: float) -> None:
        """Give a text a moment to be done, so that the process can be kept; else end it."""
        answered = False
        try:
            with suppress(TimeoutError, EngineFailed):
                async with asyncio.timeout(grace_seconds):
                    await self._answer()
                    answered = True
        finally:
            if not answered:
                await self.end()

    async def end(self) -> None:
        """Kill the process, and return when it is gone."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    def _say(self, value: object) -> None:
        self._stdin.write(json.dumps(value).encode() + b"\n")

    async def _answer(self) -> Mapping[str, Any]:
        line = await self._stdout.readline()
        if not line:
            raise await self._failed()
        answer: Mapping[str, Any] = json.loads(line)
        return answer

    async def _failed(self) -> ChildEnded:
        await self.end()
        log.error("embeddings.process_ended", exit_code=self._process.returncode)
        return ChildEnded()


def _environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name in _FROM_THE_WORKER or name.startswith(_FROM_THE_WORKER_BY_PREFIX)
    }
