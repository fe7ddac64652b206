"""List the holds that nobody settled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cost_service.domain.hold import Hold
from cost_service.usecases.ports import UnitOfWorkFactory
from service_kit.errors import InvalidArgument
from service_kit.paging import decode_page_token, encode_page_token, page_size

DEFAULT_PAGE: Final = 100
MAX_PAGE: Final = 1000
_SCOPE: Final = ("open_holds",)


@dataclass(frozen=True, slots=True)
class ListOpenHolds:
    """Lists open holds, oldest first."""

    unit_of_work: UnitOfWorkFactory

    async def __call__(
        self, min_age_seconds: int, requested_size: int, page_token: str
    ) -> tuple[Sequence[Hold], str]:
        """Return a page of holds of at least that age, and the token of the next page or ""."""
        if min_age_seconds < 0:
            raise InvalidArgument("min_age_seconds", "The age must not be negative.")
        size = page_size(requested_size, default=DEFAULT_PAGE, maximum=MAX_PAGE)
        after = _position(page_token)
        async with self.unit_of_work() as work:
            found = await work.holds.list_open(min_age_seconds, after, size + 1)
        page, more = found[:size], len(found) > size
        return page, _token(page[-1]) if more else ""


def _token(hold: Hold) -> str:
    return encode_page_token([hold.created_at.isoformat(), hold.hold_id], scope=_SCOPE)


def _position(page_token: str) -> tuple[datetime, str] | None:
    match decode_page_token(page_token, scope=_SCOPE):
        case None:
            return None
        case [str(created_at), str(hold_id)]:
            return _moment(created_at), hold_id
        case _:
            raise _foreign()


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise _foreign() from error
    if moment.tzinfo is None:
        raise _foreign()
    return moment


def _foreign() -> InvalidArgument:
    return InvalidArgument("page_token", "This page token does not belong to this query.")
