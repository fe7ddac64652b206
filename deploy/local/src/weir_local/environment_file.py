"""Reads settings from a `.env` file: `NAME=value` lines, `#` comments, optional quotes.

A name without a value, as `.env.example` has them, says nothing.
"""

from pathlib import Path


def read_environment_file(file: Path) -> dict[str, str]:
    """Return the settings of the file; none if there is no such file."""
    if not file.is_file():
        return {}
    settings = {}
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        text = line.strip().removeprefix("export ").strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals or not name.strip().isidentifier():
            raise ValueError(f"{file}:{number} is not NAME=value.")
        if unquoted := _unquoted(value.strip()):
            settings[name.strip()] = unquoted
    return settings


def _unquoted(value: str) -> str:
    for quote in ("'", '"'):
        if len(value) >= 2 and value.startswith(quote) and value.endswith(quote):
            return value[1:-1]
    return value.partition(" #")[0].rstrip()
