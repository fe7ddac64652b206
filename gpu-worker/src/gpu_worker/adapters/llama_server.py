"""llama.cpp in this process, through `xllamacpp`: every call here blocks."""

from __future__ import annotations

import ctypes
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from gpu_worker.adapters.chunk_reader import Chunk, engine_error
from gpu_worker.domain.errors import EngineFailed, PromptRefused
from gpu_worker.domain.prompt import ChatMessage

# Prompts that were answered before are not kept beside the slots: memory is for the model.
_CACHE_MIB: Final = 0
_HTTP_SECONDS: Final = 30.0
# A batch ends about every second on one CPU thread: that is how fast a cancelled prompt stops.
_CPU_BATCH_TOKENS: Final = 64
_GPU_BATCH_TOKENS: Final = 512


class EngineUnusable(Exception):
    """The engine can't run on this machine; the message says what to do about it."""


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
        # Imported here: a worker with another engine needs neither the wheel nor libgomp.
        xllamacpp = _import_xllamacpp()
        self.uses_gpu = any(
            device["type"] != xllamacpp.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_CPU
            for device in xllamacpp.get_device_info()
        )
        self._key = secrets.token_urlsafe(32)
        params = xllamacpp.CommonParams()
        params.model.path = str(options.path)
        params.model_alias = {options.name}
        params.n_ctx = options.context_tokens * options.slots
        params.n_parallel = options.slots
        params.n_batch = params.n_ubatch = options.batch_tokens or (
            _GPU_BATCH_TOKENS if self.uses_gpu else _CPU_BATCH_TOKENS
        )
        params.cpuparams.n_threads = options.threads
        params.cpuparams_batch.n_threads = options.threads
        params.cache_ram_mib = _CACHE_MIB
        params.api_keys = [self._key]
        params.endpoint_slots = False
        # Thoughts are part of the text, and parsing them anew at each token is slow.
        params.reasoning_format = xllamacpp.common_reasoning_format.COMMON_REASONING_FORMAT_NONE
        params.verbosity = 0
        try:
            self._server = xllamacpp.Server(params)
        except RuntimeError as error:
            raise EngineUnusable(f"{options.path} can't be loaded: {error}") from error
        address = urlsplit(self._server.listening_address)
        self._host, self._port = address.hostname or "127.0.0.1", address.port
        self.context_tokens = self._context_of_a_slot()

    def chat(self, body: dict[str, Any], callback: Callable[[Chunk], bool]) -> None:
        """Run one chat completion; the callback gets every chunk and returns `True` to stop.

        It is called in this thread, and what it raises is lost.

        Raises:
            PromptRefused: The template or the engine can't take the body.
        """
        try:
            answer = self._server.handle_chat_completions(body, callback)
        except (ValueError, RuntimeError) as error:
            # The engine's own failures come as chunks: this is about the messages.
            raise PromptRefused from error
        if isinstance(answer, dict) and "error" in answer:
            raise engine_error(answer["error"])

    def render(self, messages: Sequence[ChatMessage]) -> str:
        """Return the messages as the chat template writes them.

        Raises:
            PromptRefused: The template takes no such messages.
        """
        answer = self._ask("POST", "/apply-template", {"messages": as_body(messages)})
        return str(answer["prompt"])

    def count(self, text: str) -> int:
        """Return how many tokens the text has."""
        return len(self._ask("POST", "/tokenize", {"content": text})["tokens"])

    def close(self) -> None:
        """Stop the engine and free its memory. Nothing may be running."""
        del self._server

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


def _import_xllamacpp() -> Any:
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError as error:
        raise EngineUnusable(
            "llama.cpp needs libgomp.so.1, which this machine lacks: "
            "install the package libgomp1 (Debian, Ubuntu) or libgomp (Fedora, Alpine)."
        ) from error
    try:
        import xllamacpp
    except ImportError as error:
        raise EngineUnusable(f"xllamacpp can't be imported: {error}") from error
    return xllamacpp
