"""Secrets among the settings: where they are read from, and which are refused."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

MIN_SECRET_LENGTH: Final = 16
MIN_DIFFERENT_CHARACTERS: Final = 6

_PLACEHOLDER: Final = re.compile(
    r".*(change.?me|replace.?me|bhiv2024|example|placeholder|dummy).*|your[-_ ].*|\.{3}|<.*>"
    r"|x{3,}|(secret|password|passwd|admin|test|default|weir|postgres|redis)[0-9]*",
    re.IGNORECASE,
)


class SettingError(ValueError):
    """A setting that can't be used, with the variable to correct."""

    def __init__(self, variable: str, message: str) -> None:
        super().__init__(message)
        self.variable = variable
        self.message = message


@dataclass(frozen=True, slots=True)
class SecretSetting:
    """Marks a type whose value may come from a file and is never shown."""

    kind: Literal["secret", "url"] = "secret"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for a value that could not be had; refused when the field is validated."""

    error: SettingError


def secret_marker(field: FieldInfo) -> SecretSetting | None:
    """Return the field's marker if it is a secret, also inside `Secret | None`."""
    for item in (*field.metadata, *_nested(field.annotation)):
        if isinstance(item, SecretSetting):
            return item
    return None


def _nested(annotation: Any) -> Iterator[Any]:
    for argument in get_args(annotation):
        yield argument
        yield from _nested(argument)


def is_placeholder(text: str) -> bool:
    """Tell whether this is what a template holds where a secret should be."""
    return _PLACEHOLDER.fullmatch(text.strip()) is not None


def is_weak(text: str) -> bool:
    """Tell whether a secret is too short, or repeats a few characters."""
    return len(text) < MIN_SECRET_LENGTH or len(set(text)) < MIN_DIFFERENT_CHARACTERS


def refuse_unreadable(value: Any) -> Any:
    """Validate: pass everything on but the stand-in for a value that could not be read."""
    if isinstance(value, Unreadable):
        raise value.error
    return value


class SecretFiles(PydanticBaseSettingsSource):
    """Reads `NAME_FILE` for every secret `name` of the settings."""

    def __init__(self, settings_class: type[BaseSettings]) -> None:
        super().__init__(settings_class)

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        if secret_marker(field) is None:
            return None, field_name, False
        variable = field_name.upper()
        path = os.environ.get(f"{variable}_FILE", "")
        if not path:
            return None, field_name, False
        return _read(variable, path, os.environ.get(variable, "")), field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {
            name: self.get_field_value(field, name)[0]
            for name, field in self.settings_cls.model_fields.items()
        }
        return {name: value for name, value in found.items() if value is not None}


def _read(variable: str, path: str, given: str) -> str | Unreadable:
    try:
        value = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not text"
        return Unreadable(
            SettingError(f"{variable}_FILE", f"names a file that can't be read ({why})")
        )
    if given and given != value:
        return Unreadable(
            SettingError(variable, f"differs from the content of {variable}_FILE; set one of them")
        )
    return value
