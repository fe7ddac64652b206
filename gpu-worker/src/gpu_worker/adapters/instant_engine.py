"""An engine for tests of speed and chaos: no model, the same contract."""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import signal
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from gpu_worker.domain.errors import EngineFailed, PromptTooLong
from gpu_worker.domain.generation import (
    Accepted,
    Delta,
    Embedding,
    Ended,
    EngineEvent,
    FinishReason,
    Usage,
)
from gpu_worker.domain.prompt import Operation, Prompt

DIMENSIONS: Final = 8


@dataclass(frozen=True, slots=True)
class InstantEngine:
    """Answers "word0 word1 ..."; a token is a word. A vector is made from its text's hash.

    Args:
        tokens: How long an answer is, unless the prompt allows less.
        token_delay_seconds: The pause before each token or vector; 0 for speed.
        context_tokens: A longer prompt, or input of an embedding, is refused.
        fail_marker: A prompt that holds it fails after its first token or vector, if not "".
        kill_marker: A prompt that holds it kills the process after its first token or vector.
    """

    tokens: int
    token_delay_seconds: float
    context_tokens: int
    default_max_tokens: int
    fail_marker: str = ""
    kill_marker: str = ""

    def generate(self, prompt: Prompt) -> AsyncGenerator[EngineEvent, None]:
        if prompt.operation is Operation.EMBEDDING:
            return self._embed(prompt)
        return self._write(prompt)

    async def _write(self, prompt: Prompt) -> AsyncGenerator[EngineEvent, None]:
        tokens_input = sum(len(text.split()) for text in _texts_of(prompt))
        self._check_length(tokens_input)
        yield Accepted()
        room = min(
            prompt.sampling.max_tokens or self.default_max_tokens,
            self.context_tokens - tokens_input,
        )
        length = min(self.tokens, room)
        for number in range(length):
            await self._pause()
            yield Delta(f"word{number}" if number == 0 else f" word{number}", 1)
            self._misbehave(prompt)
        reason = FinishReason.LENGTH if length < self.tokens else FinishReason.STOP
        yield Ended(reason, Usage(tokens_input, length))

    async def _embed(self, prompt: Prompt) -> AsyncGenerator[EngineEvent, None]:
        counts = [len(text.split()) for text in prompt.inputs]
        self._check_length(max(counts))
        yield Accepted()
        for index, text in enumerate(prompt.inputs):
            await self._pause()
            yield Embedding(index, _vector_of(text))
            self._misbehave(prompt)
        yield Ended(FinishReason.STOP, Usage(sum(counts), 0))

    async def count_tokens(self, text: str) -> int:
        return len(text.split())

    def _check_length(self, tokens: int) -> None:
        if tokens > self.context_tokens:
            raise PromptTooLong(tokens, self.context_tokens)

    async def _pause(self) -> None:
        if self.token_delay_seconds:
            await asyncio.sleep(self.token_delay_seconds)

    def _misbehave(self, prompt: Prompt) -> None:
        if _holds(prompt, self.fail_marker):
            raise EngineFailed
        if _holds(prompt, self.kill_marker):
            os.kill(os.getpid(), signal.SIGKILL)


def _holds(prompt: Prompt, marker: str) -> bool:
    return bool(marker) and any(marker in text for text in _texts_of(prompt))


def _texts_of(prompt: Prompt) -> tuple[str, ...]:
    return (*(message.content for message in prompt.messages), *prompt.inputs)


def _vector_of(text: str) -> tuple[float, ...]:
    """Return a vector of length 1, the same one for the same text."""
    raw = [byte - 127.5 for byte in hashlib.sha256(text.encode()).digest()[:DIMENSIONS]]
    length = math.hypot(*raw)
    return tuple(value / length for value in raw)
