"""Which texts are taken as ids and names."""

from __future__ import annotations

import re
from typing import Final

from service_kit.errors import InvalidArgument

MAX_NAME_LENGTH: Final = 200
MAX_NANOUSD: Final = 2**63 - 1

_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_HOLD_ID: Final = re.compile(r"([A-Za-z0-9._-]{1,128}):([0-9]{1,9})")
_REQUEST_ID: Final = re.compile(r"[\x21-\x7e]{1,255}")
_PERIOD: Final = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")


def is_id(text: str) -> bool:
    """Tell whether the text is 1 to 128 of `A-Z a-z 0-9 . _ -`."""
    return _ID.fullmatch(text) is not None


def require_id(field: str, text: str) -> None:
    """Raise `InvalidArgument` unless the text is 1 to 128 of `A-Z a-z 0-9 . _ -`."""
    if not is_id(text):
        raise InvalidArgument(field, f"The {field} must be 1 to 128 letters, digits and . _ -")


def require_hold_id(text: str) -> None:
    """Raise `InvalidArgument` unless the text is `job_id:admission`."""
    if not _HOLD_ID.fullmatch(text):
        raise InvalidArgument("hold_id", "The hold_id must be job_id:admission.")


def require_request_id(text: str) -> None:
    """Raise `InvalidArgument` unless the text is 1 to 255 visible ASCII characters."""
    if not _REQUEST_ID.fullmatch(text):
        raise InvalidArgument("request_id", "A request_id has 1 to 255 visible ASCII characters.")


def job_id_of(hold_id: str) -> str:
    """Return the job that a hold is for."""
    return hold_id.rpartition(":")[0]


def is_period(text: str) -> bool:
    """Tell whether the text is a calendar month, `YYYY-MM`."""
    return _PERIOD.fullmatch(text) is not None


def kept_text(text: str) -> str:
    """Return what of a reported text is stored: no zero byte, no more than 200 characters.

    Reports come with settlements, which must be booked whatever the text beside them is.
    """
    return text.replace("\0", "")[:MAX_NAME_LENGTH]
