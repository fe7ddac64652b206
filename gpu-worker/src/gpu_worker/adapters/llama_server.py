"""llama.cpp in this process, through `xllamacpp`: every call here blocks."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from gpu_worker.adapters.chunk_reader import Chunk, engine_error
from gpu_worker.adapters.llama_library import llama_library, load, parameters
from gpu_worker.domain.errors import EngineFailed, PromptRefused
from gpu_worker.domain.prompt import ChatMessage

_HTTP_SECONDS: Final = 30.0
# A batch ends about every second on one CPU thread: that is how fast a cancelled prompt stops.
_CPU_BATCH_TOKENS: Final = 64
_GPU_BATCH_TOKENS: Final = 512


@dataclass(frozen=True, slots=True)
class LlamaOptions:
    """How to load a model."""

    path: Path
    name: str
    slots: int
    context_tokens: int
    """Of each slot."""
    threads: int
    batch_tokens: int | None = None
    """Prompt tokens read in one go; `None` takes what suits the device."""


class LlamaServer:
    """A loaded model.

    Tokenizer and template are only offered by llama.cpp's HTTP face, which
    xllamacpp opens on a loopback port of its own choice. The key to it is random
    and stays in this object.

    Raises:
        EngineUnusable: A library is missing, or the file holds no model.
    """

    def __init__(self, options: LlamaOptions) -> None:
        library = llama_library()
        self.uses_gpu = any(
            device["type"] != library.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_CPU
            for device in library.get_device_info()
        )
        self._key = secrets.token_urlsafe(32)
        params = parameters(library, options.path, threads=options.threads, key=self._key)
        params.model_alias = {options.name}
        params.n_ctx = options.context_tokens * options.slots
        params.n_parallel = options.slots
        params.n_batch = params.n_ubatch = options.batch_tokens or (
            _GPU_BATCH_TOKENS if self.uses_gpu else _CPU_BATCH_TOKENS
        )
        # Thoughts are part of the text, and parsing them anew at each token is slow.
        params.reasoning_format = library.common_reasoning_format.COMMON_REASONING_FORMAT_NONE
        self._server = load(library, params)
        address = urlsplit(self._server.listening_address)
        self._host, self._port = address.hostname or "127.0.0.1", address.port
        self.context_tokens = self._context_of_a_slot()

    def chat(self, body: dict[str, Any], callback: Callable[[Chunk], bool]) -> None:
        """Run one chat completion; the callback gets every chunk and returns `True` to stop.

        It is called in this thread, and what it raises is lost.

        Raises:
            PromptRefused: The template or the engine can't take the body.
        """
        self._run(self._server.handle_chat_completions, body, callback)

    def complete(self, body: dict[str, Any], callback: Callable[[Chunk], bool]) -> None:
        """Continue one text, without a template; otherwise like `chat`."""
        self._run(self._server.handle_completions, body, callback)

    def render(self, messages: Sequence[ChatMessage]) -> str:
        """Return the messages as the chat template writes them.

        Raises:
            PromptRefused: The template takes no such messages.
        """
        answer = self._ask("POST", "/apply-template", {"messages": as_body(messages)})
        return str(answer["prompt"])

    def count(self, text: str, *, with_special: bool = False) -> int:
        """Return how many tokens the text has.

        Args:
            text: Any text.
            with_special: Count what the model wants around every text, too.
        """
        body = {"content": text, "add_special": with_special}
        return len(self._ask("POST", "/tokenize", body)["tokens"])

    def close(self) -> None:
        """Stop the engine and free its memory. Nothing may be running."""
        del self._server

    @staticmethod
    def _run(
        handle: Callable[[dict[str, Any], Callable[[Chunk], bool]], Any],
        body: dict[str, Any],
        callback: Callable[[Chunk], bool],
    ) -> None:
        try:
            answer = handle(body, callback)
        except (ValueError, RuntimeError) as error:
            # The engine's own failures come as chunks: this is about what was asked.
            raise PromptRefused from error
        if isinstance(answer, dict) and "error" in answer:
            raise engine_error(answer["error"])

    def _context_of_a_slot(self) -> int:
        """Return what llama.cpp made of the wish: it rounds, and keeps to the model's limit."""
        return int(self._ask("GET", "/props")["default_generation_settings"]["n_ctx"])

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        connection = HTTPConnection(self._host, self._port, timeout=_HTTP_SECONDS)
        try:
            connection.request(
                method,
                path,
                None if body is None else json.dumps(body),
                {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"},
            )
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, HTTPException, ValueError) as error:
            raise EngineFailed from error
        finally:
            connection.close()
        if response.status >= 500 and path != "/apply-template":
            raise EngineFailed
        if response.status >= 400:
            raise PromptRefused
        if not isinstance(answer, dict):
            raise EngineFailed
        return answer


def as_body(messages: Sequence[ChatMessage]) -> list[dict[str, str]]:
    """Return the messages as OpenAI's chat API writes them."""
    return [{"role": str(message.role), "content": message.content} for message in messages]
