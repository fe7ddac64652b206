"""Page tokens: where the next page starts, in a form that clients pass back unread.

A token names the query it came from, so that it can't be used with another
tenant or filter. It is not a secret and proves nothing: the query that uses it
stays limited to what the caller may see.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence

from service_kit.errors import InvalidArgument


def encode_page_token(position: Sequence[str | int], *, scope: Sequence[object]) -> str:
    """Return a token for the page after `position`.

    Args:
        position: The sort key of the last row on this page.
        scope: Everything that decides which rows the query sees: tenant, filters, order.
    """
    body = json.dumps({"s": _digest(scope), "p": list(position)}, separators=(",", ":"))
    return base64.urlsafe_b64encode(body.encode()).decode().rstrip("=")


def decode_page_token(token: str, *, scope: Sequence[object]) -> list[str | int] | None:
    """Return the position in the token, or `None` for the first page (an empty token).

    Raises:
        InvalidArgument: The token is damaged, or belongs to a query of another scope.
    """
    if not token:
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        body = json.loads(raw)
        scope_digest, position = body["s"], body["p"]
    except (binascii.Error, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _foreign() from error
    if scope_digest != _digest(scope) or not _is_position(position):
        raise _foreign()
    return list(position)


def page_size(requested: int, *, default: int = 50, maximum: int = 200) -> int:
    """Return how many rows to read: zero means the default, too many means the maximum.

    Raises:
        InvalidArgument: The number is negative.
    """
    if requested < 0:
        raise InvalidArgument("page_size", "The page size must not be negative.")
    return min(requested or default, maximum)


def _is_position(value: object) -> bool:
    return isinstance(value, list) and all(type(item) in (str, int) for item in value)


def _digest(scope: Sequence[object]) -> str:
    text = json.dumps([str(part) for part in scope])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _foreign() -> InvalidArgument:
    return InvalidArgument("page_token", "This page token does not belong to this query.")
