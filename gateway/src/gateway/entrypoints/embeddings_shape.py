"""Embeddings as the OpenAI API writes them."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from typing import Any

from gateway.entrypoints.answer import Answer, EndedEarly


class EmbeddingsShape:
    """All vectors in one list.

    Args:
        inputs: How many there must be.
        as_base64: Write each as base64 of little-endian 32-bit floats.
    """

    def __init__(self, inputs: int, *, as_base64: bool) -> None:
        self._inputs = inputs
        self._write = _base64 if as_base64 else list[float]

    def whole(self, answer: Answer) -> dict[str, Any]:
        vectors = {each.index: each.values for each in answer.embeddings}
        if len(vectors) != self._inputs:
            raise EndedEarly
        tokens = answer.usage()["prompt_tokens"]
        return {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": self._write(vectors[index])}
                for index in sorted(vectors)
            ],
            "model": answer.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
            "weir": answer.weir(),
        }


def _base64(values: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
