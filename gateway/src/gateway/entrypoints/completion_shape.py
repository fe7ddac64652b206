"""Completions of a text as the OpenAI API writes them."""

from __future__ import annotations

from typing import Any

from gateway.entrypoints.answer import Answer


class CompletionShape:
    """In one piece, or as pieces of the same form."""

    def whole(self, answer: Answer) -> dict[str, Any]:
        return {
            **_completion(answer, answer.text, answer.finish_reason),
            "usage": answer.usage(),
            "system_fingerprint": None,
            "weir": answer.weir(),
        }

    def opening(self, _: Answer) -> None:
        return None

    def piece(self, answer: Answer, text: str) -> dict[str, Any]:
        return _completion(answer, text)

    def ending(self, answer: Answer) -> dict[str, Any]:
        return _completion(answer, "", answer.finish_reason)


def _completion(answer: Answer, text: str, finish_reason: str | None = None) -> dict[str, Any]:
    return {
        "id": f"cmpl-{answer.job_id}",
        "object": "text_completion",
        "created": answer.created,
        "model": answer.model,
        "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason}],
    }
