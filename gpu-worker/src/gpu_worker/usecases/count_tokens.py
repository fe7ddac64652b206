"""Count the tokens of a text."""

from __future__ import annotations

from dataclasses import dataclass

from gpu_worker.usecases.ports import Engine


@dataclass(frozen=True, slots=True)
class CountTokens:
    """Counts with the tokenizer of the model that this worker serves."""

    engine: Engine

    async def __call__(self, text: str) -> int:
        return await self.engine.count_tokens(text)
