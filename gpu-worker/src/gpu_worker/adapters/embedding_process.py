"""The process that turns texts into vectors: `python -m gpu_worker.adapters.embedding_process`.

It speaks JSON, one value a line: options in, `{"loaded": true}` out; then a text
in, its vector and the number of its tokens out, again and again. It ends when its
input does, even in the middle of a text, so it never outlives the worker.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

from gpu_worker.adapters.llama_library import EngineUnusable, llama_library, load, parameters

MODULE = "gpu_worker.adapters.embedding_process"


@dataclass(frozen=True, slots=True)
class EmbeddingOptions:
    """How to load a model for embeddings."""

    path: str
    threads: int
    context_tokens: int
    """The longest text."""


class Lines:
    """The values that come in, and those that go out."""

    def __init__(self, incoming: IO[bytes], outgoing: IO[bytes]) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._values: SimpleQueue[Any] = SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> Any:
        return self._values.get()

    def say(self, value: object) -> None:
        self._outgoing.write(json.dumps(value).encode() + b"\n")
        self._outgoing.flush()

    def _read(self) -> None:
        for line in self._incoming:
            self._values.put(json.loads(line))
        # The worker is gone. llama.cpp can't be interrupted, and nobody waits for it.
        os._exit(0)


def load_model(options: EmbeddingOptions) -> Any:
    """Load a model whose vectors are means over the tokens of a text.

    Raises:
        EngineUnusable: A library is missing, or the file holds no model.
    """
    library = llama_library()
    key = secrets.token_urlsafe(32)
    params = parameters(library, Path(options.path), threads=options.threads, key=key)
    params.embedding = True
    params.pooling_type = library.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.n_parallel = 1
    # A mean is made from one batch: it has to hold the longest text.
    params.n_ctx = params.n_batch = params.n_ubatch = options.context_tokens
    params.warmup = False
    return load(library, params)


def vector_of(server: Any, text: str) -> dict[str, object]:
    """Return the text's vector and tokens, or the error that llama.cpp reports."""
    try:
        answer = server.handle_embeddings({"input": [text]})
    except (ValueError, RuntimeError) as error:
        return {"error": {"type": "invalid_request_error", "message": str(error)}}
    if "error" in answer:
        return {"error": answer["error"]}
    return {
        "values": answer["data"][0]["embedding"],
        "tokens": answer["usage"]["prompt_tokens"],
    }


def main() -> None:
    # What libraries print goes to the log: our own output is a protocol.
    outgoing = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    lines = Lines(sys.stdin.buffer, outgoing)
    try:
        server = load_model(EmbeddingOptions(**lines.next()))
    except EngineUnusable as error:
        lines.say({"unusable": str(error)})
        return
    lines.say({"loaded": True})
    while True:
        lines.say(vector_of(server, lines.next()))


if __name__ == "__main__":
    main()
