"""JSON from others, read so that it can mean one thing only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


class MalformedJson(Exception):
    """It is no JSON, or could be understood in two ways. The message says why."""


def strict_json(text: str | bytes) -> Any:
    """Return the value of a JSON text in UTF-8.

    Raises:
        MalformedJson: Also for a name that comes twice, and for what is no number in JSON.
    """
    try:
        decoded = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        return json.loads(decoded, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise MalformedJson(f"no UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise MalformedJson(f"{error.msg}: line {error.lineno} column {error.colno}") from error
    except RecursionError as error:
        raise MalformedJson("nested too deeply") from error
    except ValueError as error:
        # The decoder itself refuses numbers of thousands of digits.
        raise MalformedJson("a number is too long") from error


def _object(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise MalformedJson(f"the name {name!r} comes twice")
        found[name] = value
    return found


def _refuse_constant(word: str) -> None:
    raise MalformedJson(f"{word} is no number")
