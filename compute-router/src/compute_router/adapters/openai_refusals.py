"""What a provider's refusal means: was anything paid, and may another target be tried?

Nothing was paid for what was refused at the door: 429, 503, 501, and any 4xx that is about the
request. All other answers may have cost something, and so may a 503 in which a proxy says that it
lost the server behind it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

from compute_router.domain.errors import (
    PROMPT_TOO_LONG,
    AskedToWait,
    ExecutionFailed,
    KeyRefused,
    ModelNotServed,
    OperationNotServed,
    PromptRefused,
    TargetAway,
    TargetUnavailable,
)
from service_kit.errors import ServiceError

MAX_ERROR_BYTES: Final = 64 * 1024
KEY_REFUSED: Final = frozenset({401, 402, 403})
_PROMPT_REFUSED: Final = frozenset({400, 413, 422})
# Said by whoever gave up waiting: the prompt may run on behind it.
_GAVE_UP: Final = frozenset({408, 499})
_TOO_LONG: Final = frozenset(
    {"context_length_exceeded", "exceed_context_size_error", "string_above_max_length"}
)
# vLLM has no code for it.
_TOO_LONG_WORDS: Final = "maximum context length"
# llama.cpp's fields, and the sentence of OpenAI and vLLM.
_PROMPT_TOKENS: Final = re.compile(rb'"n_prompt_tokens": ?([0-9]{1,9})\b')
_CONTEXT_TOKENS: Final = re.compile(rb'(?:"n_ctx": ?|maximum context length is )([0-9]{1,9})\b')
# Envoy's and nginx's words for a server that was lost, maybe with the prompt.
_UPSTREAM_LOST: Final = (
    b"upstream connect error",
    b"disconnect/reset",
    b"connection termination",
    b"upstream prematurely closed",
)
# Where a provider is busy and does not say for how long.
_DEFAULT_WAIT: Final = timedelta(seconds=2)
_MAX_WAIT: Final = timedelta(hours=1)
# So that jobs that wait don't hammer with a key that is not accepted.
_KEY_WAIT: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer other than 200."""

    status: int
    body: bytes | bytearray = b""
    """Its beginning; empty if it was not read."""
    retry_after: timedelta | None = None

    def error(self, target: str, model: str, operation: str) -> ServiceError:
        """Return what the refusal means, in words that repeat nothing of the provider's."""
        status = self.status
        if status == 429:
            return AskedToWait(model, self.retry_after or _DEFAULT_WAIT)
        if status == 503 and not self._is_upstream_lost:
            return TargetAway(model, f"{target} is not ready", self.retry_after)
        if status == 501:
            return OperationNotServed(model, operation)
        if status in _GAVE_UP or not 400 <= status < 500:
            return ExecutionFailed(target, f"HTTP_{status}")
        if status in KEY_REFUSED:
            return KeyRefused(model, f"{target} does not accept our key", _KEY_WAIT)
        if status in _PROMPT_REFUSED:
            return self._prompt_refused(target)
        if status == 404 and "model" in _words(self.body):
            return ModelNotServed(model)
        return TargetUnavailable(model, f"{target} refuses the request ({status})")

    @property
    def _is_upstream_lost(self) -> bool:
        body = bytes(self.body).lower()
        return any(words in body for words in _UPSTREAM_LOST)

    def _prompt_refused(self, target: str) -> PromptRefused:
        words = _words(self.body)
        metadata = {"target": target, "status": str(self.status)}
        if self.status == 413 or _TOO_LONG_WORDS in words or any(c in words for c in _TOO_LONG):
            known, sizes = _sizes(self.body)
            message = f"The prompt is too long for {target}{known}."
            return PromptRefused(PROMPT_TOO_LONG, message, {**metadata, **sizes})
        return PromptRefused(
            "INVALID_ARGUMENT", f"The target {target} can't take this request.", metadata
        )


def retry_after_of(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """Return how long the provider wants to be left alone: seconds, or until a date."""
    text = headers.get("retry-after", "").strip()
    if text.isdecimal() and len(text) < 10:
        wait = timedelta(seconds=int(text))
    else:
        try:
            until = parsedate_to_datetime(text)
        except (ValueError, TypeError, OverflowError):
            return None
        wait = (until if until.tzinfo else until.replace(tzinfo=UTC)) - now
    return min(wait, _MAX_WAIT) if wait > timedelta(0) else None


def _sizes(body: bytes | bytearray) -> tuple[str, dict[str, str]]:
    """Return what the refusal says about the lengths: numbers alone, and none of its words."""
    has, holds = _PROMPT_TOKENS.search(body), _CONTEXT_TOKENS.search(body)
    if holds is None:
        return "", {}
    context = holds[1].decode()
    if has is None:
        return f": its model's context holds {context} tokens", {"context_tokens": context}
    tokens = has[1].decode()
    return (
        f": it has {tokens} tokens, and its model's context holds {context}",
        {"tokens": tokens, "context_tokens": context},
    )


def _words(body: bytes | bytearray) -> str:
    """Return code, type and message of an error, in lower case; they are compared and dropped."""
    try:
        value: Any = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if isinstance(value, dict) and isinstance(value.get("error"), dict):
        value = value["error"]
    if not isinstance(value, dict):
        return ""
    return " ".join(str(value.get(name, "")) for name in ("code", "type", "message")).lower()
