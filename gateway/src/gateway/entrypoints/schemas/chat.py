"""Chat completions as the OpenAI API has them.

What would change the answer and is not supported is refused; it is ignored
only where ignoring it changes nothing.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from gateway.entrypoints.schemas.base import RequestBody
from gateway.entrypoints.schemas.routing import MaxTokens, Model

_INT64: Final = 2**63


def _only(*neutral: object) -> Any:
    """Return the type of a field that may hold these values and no others.

    They mean what happens anyway.
    """

    def check(value: object) -> None:
        if not any(type(value) is type(one) and value == one for one in neutral):
            raise PydanticCustomError("unsupported_parameter", "This is not supported here.")

    shown = [one for one in neutral if one is not None]
    schema = {"description": "Not supported; only these values, which change nothing."}
    return Annotated[
        Any, BeforeValidator(check), WithJsonSchema({**schema, "enum": [None, *shown]})
    ]


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
    name: _only(None) = None  # type: ignore[valid-type]
    refusal: _only(None) = None  # type: ignore[valid-type]
    audio: _only(None) = None  # type: ignore[valid-type]
    tool_calls: _only(None, []) = None  # type: ignore[valid-type]
    function_call: _only(None) = None  # type: ignore[valid-type]


class StreamOptions(RequestBody):
    """How to stream."""

    include_usage: bool = False
    include_obfuscation: bool | None = None


class CompletionBody(RequestBody):
    """A request for a chat completion. `model` may be `auto`."""

    model: Model
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=2048)]
    max_tokens: MaxTokens | None = None
    max_completion_tokens: MaxTokens | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-_INT64, lt=_INT64)] | None = None
    stop: (
        Annotated[str, Field(min_length=1, max_length=256)]
        | Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(max_length=4)]
        | None
    ) = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    # These say something about the request, nothing about the answer.
    user: str | None = None
    metadata: dict[str, str] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prediction: Any = None

    # These would change the answer.
    n: _only(None, 1) = None  # type: ignore[valid-type]
    store: _only(None, False) = None  # type: ignore[valid-type]
    service_tier: _only(None, "auto", "default") = None  # type: ignore[valid-type]
    logit_bias: _only(None, {}) = None  # type: ignore[valid-type]
    logprobs: _only(None, False) = None  # type: ignore[valid-type]
    top_logprobs: _only(None) = None  # type: ignore[valid-type]
    response_format: _only(None, {"type": "text"}) = None  # type: ignore[valid-type]
    modalities: _only(None, ["text"]) = None  # type: ignore[valid-type]
    audio: _only(None) = None  # type: ignore[valid-type]
    tools: _only(None, []) = None  # type: ignore[valid-type]
    tool_choice: _only(None, "none") = None  # type: ignore[valid-type]
    parallel_tool_calls: _only(None, True, False) = None  # type: ignore[valid-type]
    functions: _only(None, []) = None  # type: ignore[valid-type]
    function_call: _only(None, "none") = None  # type: ignore[valid-type]
    reasoning_effort: _only(None) = None  # type: ignore[valid-type]
    verbosity: _only(None) = None  # type: ignore[valid-type]
    web_search_options: _only(None) = None  # type: ignore[valid-type]

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        one, other = self.max_tokens, self.max_completion_tokens
        if one is not None and other is not None and one != other:
            raise PydanticCustomError(
                "max_tokens", "max_tokens and max_completion_tokens are the same and differ."
            )
        if self.stream_options is not None and not self.stream:
            raise PydanticCustomError(
                "stream_options", "stream_options is only allowed when stream is true."
            )
        return self

    @property
    def token_limit(self) -> int:
        """The most tokens to answer with; 0 for the model's default."""
        return self.max_completion_tokens or self.max_tokens or 0

    @property
    def stop_texts(self) -> list[str]:
        """Texts at which the answer ends."""
        if self.stop is None:
            return []
        return [self.stop] if isinstance(self.stop, str) else self.stop

    @property
    def include_usage(self) -> bool:
        """Whether a last chunk with the usage is wanted."""
        return self.stream_options is not None and self.stream_options.include_usage
