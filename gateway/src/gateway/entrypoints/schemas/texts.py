"""Texts to work on, in the forms that the OpenAI API has for them."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

MAX_INPUTS: Final = 256


def _one_text(value: object) -> str:
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        value = value[0]
    if isinstance(value, list) and len(value) > 1 and all(isinstance(one, str) for one in value):
        raise PydanticCustomError(
            "unsupported_content", "Only one prompt at a time is supported; send several requests."
        )
    return _text(value)


def _texts(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not 1 <= len(values) <= MAX_INPUTS:
        raise PydanticCustomError(
            "too_many_inputs",
            "Send 1 to {most} texts in one request.",
            {"most": MAX_INPUTS},
        )
    return [_text(one) for one in values]


def _text(value: object) -> str:
    if isinstance(value, list) or (isinstance(value, int) and not isinstance(value, bool)):
        raise PydanticCustomError(
            "unsupported_content", "Token ids are not supported here; send text."
        )
    if not isinstance(value, str) or not value:
        raise PydanticCustomError("content", "A text of at least one character is needed.")
    return value


_TEXT: Final[dict[str, Any]] = {"type": "string", "minLength": 1}


def _list_of(most: int) -> dict[str, Any]:
    return {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": most}]}


OneText = Annotated[str, BeforeValidator(_one_text), WithJsonSchema(_list_of(1))]
"""A text, or a list of one text."""

Texts = Annotated[list[str], BeforeValidator(_texts), WithJsonSchema(_list_of(MAX_INPUTS))]
"""A text or up to 256 texts; in Python, always a list."""
