"""An engine for tests of speed and chaos: no model, the same contract."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from gpu_worker.domain.errors import EngineFailed, PromptTooLong
from gpu_worker.domain.generation import Accepted, Delta, Ended, EngineEvent, FinishReason, Usage
from gpu_worker.domain.prompt import Prompt


@dataclass(frozen=True, slots=True)
class InstantEngine:
    """Answers "word0 word1 ..."; a token is a word.

    Args:
        tokens: How long an answer is, unless the prompt allows less.
        token_delay_seconds: The pause before each token; 0 for speed.
        context_tokens: A longer prompt is refused.
        fail_marker: A prompt that holds it fails after its first token, if not "".
        kill_marker: A prompt that holds it kills the process after its first token.
    """

    tokens: int
    token_delay_seconds: float
    context_tokens: int
    default_max_tokens: int
    fail_marker: str = ""
    kill_marker: str = ""

    async def generate(self, prompt: Prompt) -> AsyncGenerator[EngineEvent, None]:
        tokens_input = sum(len(message.content.split()) for message in prompt.messages)
        if tokens_input > self.context_tokens:
            raise PromptTooLong(tokens_input, self.context_tokens)
        yield Accepted()
        room = min(
            prompt.sampling.max_tokens or self.default_max_tokens,
            self.context_tokens - tokens_input,
        )
        length = min(self.tokens, room)
        for number in range(length):
            if self.token_delay_seconds:
                await asyncio.sleep(self.token_delay_seconds)
            yield Delta(f"word{number}" if number == 0 else f" word{number}", 1)
            self._misbehave(prompt)
        reason = FinishReason.LENGTH if length < self.tokens else FinishReason.STOP
        yield Ended(reason, Usage(tokens_input, length))

    async def count_tokens(self, text: str) -> int:
        return len(text.split())

    def _misbehave(self, prompt: Prompt) -> None:
        if self._holds(prompt, self.fail_marker):
            raise EngineFailed
        if self._holds(prompt, self.kill_marker):
            os.kill(os.getpid(), signal.SIGKILL)

    @staticmethod
    def _holds(prompt: Prompt, marker: str) -> bool:
        return bool(marker) and any(marker in message.content for message in prompt.messages)
