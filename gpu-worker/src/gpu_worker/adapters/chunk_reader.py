"""Reads what llama.cpp streams, chunk by chunk, and counts its tokens exactly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gpu_worker.domain.errors import EngineFailed, PromptRefused, PromptTooLong
from gpu_worker.domain.generation import Accepted, Delta, Ended, EngineEvent, FinishReason, Usage

Chunk = Mapping[str, Any]

_REASONS = {"stop": FinishReason.STOP, "length": FinishReason.LENGTH}


class ChunkReader:
    """Turns the chunks of one answer, to a conversation or to a text, into events.

    A chunk's `timings.predicted_n` says how many tokens there were so far, also
    where several made one character; without it a chunk with text is one token.
    What the final usage has beyond that (the token that ends the answer) is a
    delta without text.
    """

    def __init__(self) -> None:
        self._accepted = False
        self._tokens = 0
        self._reason: FinishReason | None = None
        self.ended = False

    def read(self, chunk: Chunk) -> Iterator[EngineEvent]:
        """Give the events of the next chunk.

        Raises:
            PromptTooLong: The engine says so.
            PromptRefused: The engine can't take the prompt.
            EngineFailed: The engine reports anything else.
        """
        if "error" in chunk:
            raise engine_error(chunk["error"])
        if not self._accepted:
            self._accepted = True
            yield Accepted()
        for choice in chunk.get("choices") or ():
            # In the words of the chat API, or of the completion API.
            text = (choice.get("delta") or {}).get("content") or choice.get("text")
            if text:
                yield self._delta(text, chunk)
            if choice.get("finish_reason"):
                self._reason = _REASONS.get(choice["finish_reason"], FinishReason.STOP)
        usage = chunk.get("usage")
        if usage is not None:
            yield from self._end(usage)

    def _delta(self, text: str, chunk: Chunk) -> Delta:
        so_far = (chunk.get("timings") or {}).get("predicted_n", self._tokens + 1)
        tokens = max(0, so_far - self._tokens)
        self._tokens += tokens
        return Delta(text, tokens)

    def _end(self, usage: Mapping[str, Any]) -> Iterator[EngineEvent]:
        tokens_output = usage["completion_tokens"]
        if tokens_output > self._tokens:
            yield Delta("", tokens_output - self._tokens)
        details = usage.get("prompt_tokens_details") or {}
        self.ended = True
        yield Ended(
            self._reason or FinishReason.STOP,
            Usage(usage["prompt_tokens"], tokens_output, details.get("cached_tokens", 0)),
        )


def engine_error(error: Mapping[str, Any]) -> PromptTooLong | PromptRefused | EngineFailed:
    """Name the error that llama.cpp reported."""
    kind = error.get("type")
    if kind == "exceed_context_size_error":
        return PromptTooLong(error.get("n_prompt_tokens", 0), error.get("n_ctx", 0))
    if kind == "invalid_request_error":
        return PromptRefused()
    return EngineFailed()
