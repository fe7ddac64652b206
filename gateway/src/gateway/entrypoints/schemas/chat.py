"""Chat completions as the OpenAI API has them.

What would change the answer and is not supported is refused; it is ignored
only where ignoring it changes nothing.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from gateway.entrypoints.schemas.base import RequestBody, only
from gateway.entrypoints.schemas.routing import MaxTokens
from gateway.entrypoints.schemas.sampling import SamplingBody


def _text_of(value: object, info: ValidationInfo) -> str:
    """Return the text of a message's content, which may come in parts."""
    if isinstance(value, str):
        return value
    if value is None and info.data.get("role") == "assistant":
        return ""
    if not isinstance(value, list) or not value:
        raise PydanticCustomError("content", "Content must be a text or a list of text parts.")
    return "".join(_part_text(part) for part in value)


def _part_text(part: object) -> str:
    if not isinstance(part, dict) or part.get("type") != "text":
        raise PydanticCustomError(
            "unsupported_content", "Only text is supported: parts of type 'text'."
        )
    text = part.get("text")
    if not isinstance(text, str) or not part.keys() <= {"type", "text"}:
        raise PydanticCustomError("content", "A text part has a 'type' and a 'text'.")
    return text


Content = Annotated[
    str,
    BeforeValidator(_text_of),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["type", "text"],
                        "additionalProperties": False,
                        "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
                    },
                },
            ]
        }
    ),
]


class ChatMessage(RequestBody):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Content
    name: only(None) = None  # type: ignore[valid-type]
    refusal: only(None) = None  # type: ignore[valid-type]
    audio: only(None) = None  # type: ignore[valid-type]
    tool_calls: only(None, []) = None  # type: ignore[valid-type]
    function_call: only(None) = None  # type: ignore[valid-type]


class ChatCompletionBody(SamplingBody):
    """A request for a chat completion. `model` may be `auto`."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=2048)]
    max_completion_tokens: MaxTokens | None = None

    # These say something about the request, nothing about the answer.
    metadata: dict[str, str] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prediction: Any = None

    # These would change the answer.
    store: only(None, False) = None  # type: ignore[valid-type]
    service_tier: only(None, "auto", "default") = None  # type: ignore[valid-type]
    logprobs: only(None, False) = None  # type: ignore[valid-type]
    top_logprobs: only(None) = None  # type: ignore[valid-type]
    response_format: only(None, {"type": "text"}) = None  # type: ignore[valid-type]
    modalities: only(None, ["text"]) = None  # type: ignore[valid-type]
    audio: only(None) = None  # type: ignore[valid-type]
    tools: only(None, []) = None  # type: ignore[valid-type]
    tool_choice: only(None, "none") = None  # type: ignore[valid-type]
    parallel_tool_calls: only(None, True, False) = None  # type: ignore[valid-type]
    functions: only(None, []) = None  # type: ignore[valid-type]
    function_call: only(None, "none") = None  # type: ignore[valid-type]
    reasoning_effort: only(None) = None  # type: ignore[valid-type]
    verbosity: only(None) = None  # type: ignore[valid-type]
    web_search_options: only(None) = None  # type: ignore[valid-type]

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        one, other = self.max_tokens, self.max_completion_tokens
        if one is not None and other is not None and one != other:
            raise PydanticCustomError(
                "max_tokens", "max_tokens and max_completion_tokens are the same and differ."
            )
        return self

    @property
    def token_limit(self) -> int:
        return self.max_completion_tokens or self.max_tokens or 0
