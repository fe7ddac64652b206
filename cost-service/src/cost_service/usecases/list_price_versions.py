"""Show which versions the price book has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cost_service.domain.prices import PriceVersion
from cost_service.usecases.ports import UnitOfWorkFactory
from service_kit.errors import InvalidArgument
from service_kit.paging import decode_page_token, encode_page_token, page_size

DEFAULT_PAGE: Final = 50
MAX_PAGE: Final = 100
_SCOPE: Final = ("price_versions",)


@dataclass(frozen=True, slots=True)
class ListPriceVersions:
    """Lists versions without their prices, latest `valid_from` first."""

    unit_of_work: UnitOfWorkFactory

    async def __call__(
        self, requested_size: int, page_token: str
    ) -> tuple[Sequence[PriceVersion], str]:
        """Return a page of versions, and the token of the next page or ""."""
        size = page_size(requested_size, default=DEFAULT_PAGE, maximum=MAX_PAGE)
        before = _position(decode_page_token(page_token, scope=_SCOPE))
        async with self.unit_of_work() as work:
            found = await work.prices.list_versions(before, size + 1)
        page, more = found[:size], len(found) > size
        return page, _token(page[-1]) if more else ""


def _token(version: PriceVersion) -> str:
    return encode_page_token([version.valid_from.isoformat()], scope=_SCOPE)


def _position(position: list[str | int] | None) -> datetime | None:
    match position:
        case None:
            return None
        case [str(valid_from)]:
            return _moment(valid_from)
        case _:
            raise _foreign()


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise _foreign()
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _foreign() from error


def _foreign() -> InvalidArgument:
    return InvalidArgument("page_token", "This page token does not belong to this query.")
