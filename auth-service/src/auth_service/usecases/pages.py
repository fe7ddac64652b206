"""Pages of what has an id and a time of creation, oldest first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from service_kit.errors import InvalidArgument
from service_kit.ids import is_uuid
from service_kit.paging import decode_page_token, encode_page_token

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def token_of(created_at: datetime, last_id: str, *, scope: Sequence[object]) -> str:
    """Return the token of the page after the one that ends here."""
    micros = (created_at - _EPOCH) // timedelta(microseconds=1)
    return encode_page_token([micros, last_id], scope=scope)


def position_after(token: str, *, scope: Sequence[object]) -> tuple[datetime, str] | None:
    """Return the (created_at, id) that a page comes after; `None` for the first page.

    Raises:
        InvalidArgument: The token is damaged, or from another query.
    """
    match decode_page_token(token, scope=scope):
        case None:
            return None
        case [int(micros), str(last_id)] if is_uuid(last_id):
            try:
                return _EPOCH + timedelta(microseconds=micros), last_id
            except OverflowError as error:
                raise _damaged() from error
        case _:
            raise _damaged()


def _damaged() -> InvalidArgument:
    return InvalidArgument("page_token", "This page token does not belong to this query.")
