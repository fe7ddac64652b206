"""The caller's own name for a creation, which makes repeating it safe."""

from __future__ import annotations

from auth_service.domain.identifiers import has_control_characters
from service_kit.errors import InvalidArgument

REQUEST_ID_MAX_CHARACTERS = 255


def parse_request_id(text: str) -> str | None:
    """Return the id, or `None` for a creation that is not meant to be repeated.

    Raises:
        InvalidArgument: It is longer than 255 characters or holds control characters.
    """
    if len(text) > REQUEST_ID_MAX_CHARACTERS or has_control_characters(text):
        raise InvalidArgument(
            "request_id",
            f"A request id has {REQUEST_ID_MAX_CHARACTERS} characters at most, "
            "and no control characters.",
        )
    return text or None
