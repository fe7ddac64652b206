"""What all shapes share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from gateway.domain.money import nanousd_from_usd


class RequestBody(BaseModel):
    """A body of which every field is known: what we don't know, we don't ignore."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class View(BaseModel):
    """A response."""

    model_config = ConfigDict(frozen=True)


def only(*neutral: object) -> Any:
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


def _amount(value: Any) -> int:
    return nanousd_from_usd(value)


UsdAmount = Annotated[
    int,
    BeforeValidator(_amount),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 9_000_000_000},
                {"type": "string", "pattern": r"^[0-9]{1,9}(\.[0-9]{1,9})?$"},
            ],
            "description": "US dollars with at most 9 decimals, as a number or a text.",
            "examples": [12.5, "0.000000001"],
        }
    ),
]
"""An amount of US dollars in a request; in Python, whole nano-USD."""

Name = Annotated[str, Field(min_length=1, max_length=100)]
Identifier = Annotated[str, Field(min_length=1, max_length=64)]
