"""What every request for an answer of a model may say."""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from gateway.entrypoints.schemas.base import RequestBody, only
from gateway.entrypoints.schemas.routing import MaxTokens, Model

_INT64: Final = 2**63

_StopText = Annotated[str, Field(min_length=1, max_length=256)]


class StreamOptions(RequestBody):
    """How to stream."""

    include_usage: bool = False
    include_obfuscation: bool | None = None


class SamplingBody(RequestBody):
    """How to choose the answer's tokens, and how to send them."""

    model: Model
    max_tokens: MaxTokens | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-_INT64, lt=_INT64)] | None = None
    stop: _StopText | Annotated[list[_StopText], Field(max_length=4)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    # It says something about the request, nothing about the answer.
    user: str | None = None

    # These would change the answer.
    n: only(None, 1) = None  # type: ignore[valid-type]
    logit_bias: only(None, {}) = None  # type: ignore[valid-type]

    @model_validator(mode="after")
    def _check_stream_options(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise PydanticCustomError(
                "stream_options", "stream_options is only allowed when stream is true."
            )
        return self

    @property
    def token_limit(self) -> int:
        """The most tokens to answer with; 0 for the model's default."""
        return self.max_tokens or 0

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
