"""Takes secrets and prompts out of what is about to be logged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

REDACTED: Final = "[redacted]"
MAX_CHARACTERS: Final = 16_384
MAX_DEPTH: Final = 6

_SECRET_KEY: Final = re.compile(
    r"token|passw(or)?d|secret|authorization|api[_-]?key|cookie|credential|private[_-]?key",
    re.IGNORECASE,
)
# Words of users. `content_type` and `prompt_version` are no such thing.
_WORDS_KEY: Final = re.compile(r"(.*[_-])?(prompt|messages|content)", re.IGNORECASE)

_SECRET_TEXT: Final = re.compile(
    r"(?P<key>\bsk-[A-Za-z0-9_-]{6,})"
    r"|(?P<jwt>\beyJ[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*){0,2})"
    r"|(?P<bearer>\b(?:Bearer|Basic)\s+)[A-Za-z0-9._~+/=-]{6,}"
    r"|(?P<scheme>\b[A-Za-z][A-Za-z0-9+.-]*://)[^\s/@'\"]*:[^\s/'\"]*@"
    # Postgres quotes the row that broke a rule.
    r"|(?P<detail>\bDETAIL:  ?)[^\n]+",
    re.IGNORECASE,
)


def redact(value: object, key: str = "", depth: int = 0) -> object:
    """Return the value as plain JSON data, secrets replaced.

    What stands under a key that names a secret or a user's words is replaced
    whole, unless it is a number or a flag: `prompt_tokens=12` stays.
    """
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if key and (_SECRET_KEY.search(key) or _WORDS_KEY.fullmatch(key)):
        return REDACTED
    if isinstance(value, str):
        return mask(value)
    if depth >= MAX_DEPTH:
        return "[too deep]"
    if isinstance(value, Mapping):
        return {mask(str(name)): redact(item, str(name), depth + 1) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redact(item, "", depth + 1) for item in value]
    return mask(str(value))


def mask(text: str) -> str:
    """Return the text with everything that looks like a credential replaced."""
    if len(text) > MAX_CHARACTERS:
        text = text[:MAX_CHARACTERS] + "[cut]"
    return _SECRET_TEXT.sub(_replacement, text)


def _replacement(match: re.Match[str]) -> str:
    if match["scheme"]:
        return f"{match['scheme']}{REDACTED}@"
    return f"{match['bearer'] or match['detail'] or ''}{REDACTED}"
