"""JSON as RFC 8259 has it and nothing more: what two readers could read differently is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Coroutine
from decimal import Decimal
from email.message import Message
from typing import Any, Final, NoReturn

from fastapi import Request, Response
from fastapi.routing import APIRoute

from gateway.entrypoints.errors import invalid_json, unsupported_media_type

MAX_DEPTH: Final = 32
# No number in a request means anything with more characters than this.
MAX_NUMBER_CHARACTERS: Final = 64

# Escapes that may make half a surrogate pair, or a NUL, which Postgres can't store.
_SUSPECT_ESCAPE: Final = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")

_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_BRACKET: Final = re.compile(rb"[\[\]{}]")


def parse_json(body: bytes) -> object:
    """Return the value in the text; numbers with a point or an exponent as `Decimal`.

    Raises:
        EdgeError: `INVALID_JSON`: no UTF-8, no JSON, NaN or Infinity, a key twice in
            an object, nested deeper than 32, an endless number, half a surrogate pair,
            or a NUL character.
    """
    # Only a text with this many brackets can be nested that deep.
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        _check_depth(body)
    try:
        value: object = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_without_duplicates,
            parse_constant=_refuse_constant,
            parse_float=_decimal,
            parse_int=_integer,
        )
    except (ValueError, RecursionError) as error:
        raise invalid_json(f"The body is not valid JSON: {_words(error)}.") from error
    if _SUSPECT_ESCAPE.search(body) or b"\x00" in body:
        _check_text(value)
    return value


def _check_depth(body: bytes) -> None:
    """Refuse deep nesting before the parser recurses into it."""
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", body)):
        if bracket in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise invalid_json(f"The body is nested deeper than {MAX_DEPTH} levels.")
        else:
            depth -= 1


def _check_text(value: object) -> None:
    if isinstance(value, str):
        if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise invalid_json("The body holds a NUL or half a surrogate pair.")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_text(key)
            _check_text(item)
    elif isinstance(value, list):
        for item in value:
            _check_text(item)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has the same key twice")
    return found


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no numbers")


def _decimal(text: str) -> Decimal:
    if len(text) > MAX_NUMBER_CHARACTERS:
        raise ValueError("a number is too long")
    return Decimal(text)


def _integer(text: str) -> int:
    if len(text) > MAX_NUMBER_CHARACTERS:
        raise ValueError("a number is too long")
    return int(text)


def _words(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos}"
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return str(error)


class StrictJsonRoute(APIRoute):
    """A route whose body is read by `parse_json`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()
        if self.body_field is None:
            return handler

        async def strict(request: Request) -> Response:
            body = await request.body()
            if body and not _is_json(request.headers.get("content-type", "")):
                raise unsupported_media_type()
            parsed = _Parsed(request.scope, request.receive)
            parsed.take(body, parse_json(body) if body else None)
            return await handler(parsed)

        return strict


class _Parsed(Request):
    """A request whose JSON has been read."""

    def take(self, body: bytes, value: object) -> None:
        self._body = body
        self._value = value

    async def json(self) -> Any:
        return self._value


def _is_json(content_type: str) -> bool:
    if content_type == "application/json":
        return True
    message = Message()
    message["content-type"] = content_type
    kind = message.get_content_type()
    return kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )
