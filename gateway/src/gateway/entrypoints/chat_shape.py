"""Chat completions as the OpenAI API writes them."""

from __future__ import annotations

from typing import Any

from gateway.entrypoints.answer import Answer


class ChatShape:
    """In one piece, or as chunks of which the first tells the role."""

    def whole(self, answer: Answer) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{answer.job_id}",
            "object": "chat.completion",
            "created": answer.created,
            "model": answer.model,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": answer.text, "refusal": None},
                    "logprobs": None,
                    "finish_reason": answer.finish_reason,
                }
            ],
            "usage": answer.usage(),
            "system_fingerprint": None,
            "weir": answer.weir(),
        }

    def opening(self, answer: Answer) -> dict[str, Any]:
        return _chunk(answer, {"role": "assistant", "content": ""})

    def piece(self, answer: Answer, text: str) -> dict[str, Any]:
        return _chunk(answer, {"content": text})

    def ending(self, answer: Answer) -> dict[str, Any]:
        return _chunk(answer, {}, answer.finish_reason)


def _chunk(
    answer: Answer, delta: dict[str, Any], finish_reason: str | None = None
) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{answer.job_id}",
        "object": "chat.completion.chunk",
        "created": answer.created,
        "model": answer.model,
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}],
    }
