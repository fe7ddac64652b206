"""Between the words of OpenAI's API and the words of the domain.

What comes in is a stranger's: every value is checked before it is believed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from compute_router.domain.execution import Embedding, FinishReason, Task, Usage
from compute_router.domain.operation import Operation

PATHS: Final = {
    Operation.CHAT: "/v1/chat/completions",
    Operation.COMPLETION: "/v1/completions",
    Operation.EMBEDDING: "/v1/embeddings",
}
# Nobody has run a prompt of that size.
_MAX_TOKENS: Final = 1_000_000_000
_MAX_ID_CHARACTERS: Final = 200
_MAX_FLOAT32: Final = 3.4028234663852886e38
_LENGTHS: Final = frozenset({"length", "max_tokens"})


class BadAnswer(Exception):
    """The answer is none that we understand; the cause is one code."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Piece:
    """What one event of a stream says."""

    text: str = ""
    finish_reason: FinishReason | None = None
    has_usage: bool = False
    usage: Usage | None = None
    """`None`: there is none, or it is absurd."""
    response_id: str = ""


def body_of(task: Task, default_max_tokens: int) -> dict[str, Any]:
    """Return the request for a task. A text has a limit always: its worst case is reserved."""
    job = task.job
    if job.operation is Operation.EMBEDDING:
        return {"model": task.model, "input": list(job.inputs), "encoding_format": "float"}
    body: dict[str, Any] = {
        "model": task.model,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": job.sampling.max_tokens or default_max_tokens,
    }
    if job.operation is Operation.CHAT:
        body["messages"] = [{"role": m.role, "content": m.content} for m in job.messages]
    else:
        body["prompt"] = job.inputs[0]
    sampling = job.sampling
    optional = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
        "stop": list(sampling.stop) or None,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
    }
    return body | {name: value for name, value in optional.items() if value is not None}


def piece_of(data: str, operation: Operation) -> Piece:
    """Return what an event of a stream says.

    Raises:
        BadAnswer: It is an error, or nothing that we understand.
    """
    event = object_of(data)
    has_usage = event.get("usage") is not None
    # Some leave them out of the last chunk, which is about usage alone.
    choices = event.get("choices", [] if has_usage else None)
    if not isinstance(choices, list):
        raise BadAnswer("NOT_UNDERSTOOD")
    choice = choices[0] if choices else {}
    if not isinstance(choice, dict):
        raise BadAnswer("NOT_UNDERSTOOD")
    return Piece(
        text=_text(choice, operation),
        finish_reason=_finish_reason(choice.get("finish_reason")),
        has_usage=has_usage,
        usage=usage_of(event.get("usage")) if has_usage else None,
        response_id=response_id_of(event),
    )


def embeddings_of(answer: dict[str, Any], count: int) -> list[Embedding]:
    """Return the vectors of an answer, one for each input, in their order.

    Raises:
        BadAnswer: One is missing, twice there, or no vector.
    """
    rows = answer.get("data")
    if not isinstance(rows, list) or len(rows) != count:
        raise BadAnswer("NOT_UNDERSTOOD")
    found: dict[int, Embedding] = {}
    for row in rows:
        if not isinstance(row, dict) or not is_count(row.get("index")):
            raise BadAnswer("NOT_UNDERSTOOD")
        found[row["index"]] = Embedding(row["index"], _vector(row.get("embedding")))
    if sorted(found) != list(range(count)):
        raise BadAnswer("NOT_UNDERSTOOD")
    if len({len(embedding.values) for embedding in found.values()}) != 1:
        raise BadAnswer("NOT_UNDERSTOOD")
    return [found[index] for index in range(count)]


def object_of(text: str | bytearray) -> dict[str, Any]:
    """Return the JSON object that a text is.

    Raises:
        BadAnswer: It is something else, or reports an error.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadAnswer("NOT_UNDERSTOOD") from error
    if not isinstance(value, dict):
        raise BadAnswer("NOT_UNDERSTOOD")
    if value.get("error"):
        raise BadAnswer("ERROR_REPORTED")
    return value


def usage_of(value: object, *, has_output: bool = True) -> Usage | None:
    """Return the usage that was reported, zero included; `None` for one that is absurd."""
    if not isinstance(value, dict):
        return None
    tokens_input: object = value.get("prompt_tokens")
    tokens_output: object = value.get("completion_tokens") if has_output else 0
    if not is_count(tokens_input) or not is_count(tokens_output):
        return None
    details = value.get("prompt_tokens_details")
    cached: object = details.get("cached_tokens") if isinstance(details, dict) else 0
    if not is_count(cached) or cached > tokens_input:
        return Usage(tokens_input, tokens_output)
    return Usage(tokens_input, tokens_output, cached)


def response_id_of(answer: dict[str, Any]) -> str:
    """Return the id that the provider gave its answer; empty where it gave none to be used."""
    value: object = answer.get("id")
    if not isinstance(value, str) or len(value) > _MAX_ID_CHARACTERS or not value.isprintable():
        return ""
    return clean(value)


def clean(text: str) -> str:
    """Return the text without halves of characters, which no message of ours may hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def is_count(value: object) -> TypeGuard[int]:
    """Tell whether a value is a number of tokens that can be believed."""
    return type(value) is int and 0 <= value <= _MAX_TOKENS


def _text(choice: dict[str, Any], operation: Operation) -> str:
    value: object
    if operation is Operation.CHAT:
        delta = choice.get("delta") or {}
        if not isinstance(delta, dict):
            raise BadAnswer("NOT_UNDERSTOOD")
        value = delta.get("content")
    else:
        value = choice.get("text")
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadAnswer("NOT_UNDERSTOOD")
    return clean(value)


def _finish_reason(value: object) -> FinishReason | None:
    if value is None:
        return None
    is_length = isinstance(value, str) and value in _LENGTHS
    return FinishReason.LENGTH if is_length else FinishReason.STOP


def _vector(value: object) -> tuple[float, ...]:
    if not isinstance(value, list) or not value:
        raise BadAnswer("NOT_UNDERSTOOD")
    for number in value:
        if type(number) not in (int, float) or not abs(number) <= _MAX_FLOAT32:
            raise BadAnswer("NOT_UNDERSTOOD")
    return tuple(float(number) for number in value)
