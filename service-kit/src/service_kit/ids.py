"""Identifiers: UUIDs of version 7, which sort by the time they were made."""

from __future__ import annotations

import re

import uuid_utils

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def new_id() -> str:
    """Return an id that nothing else has, as 36 lower-case characters."""
    return str(uuid_utils.uuid7())


def is_uuid(text: str) -> bool:
    """Tell whether the text is a UUID in the one form that `new_id` writes."""
    return _UUID.fullmatch(text) is not None
