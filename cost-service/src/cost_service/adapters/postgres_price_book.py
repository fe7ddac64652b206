"""The price book in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from cost_service.domain.prices import NewPriceVersion, Price, PriceSnapshot, PriceVersion

_CURRENT_VERSION: Final = (
    "SELECT price_version FROM price_versions "
    "WHERE valid_from <= now() ORDER BY valid_from DESC LIMIT 1"
)
_VERSIONS: Final = f"""
    SELECT v.price_version, v.valid_from, v.note,
           v.price_version IS NOT DISTINCT FROM ({_CURRENT_VERSION}) AS is_current
    FROM price_versions v"""  # noqa: S608
_CURRENT: Final = text(f"{_VERSIONS} WHERE v.price_version = ({_CURRENT_VERSION})")
_FIND: Final = text(f"{_VERSIONS} WHERE v.price_version = :price_version")
_BY_REQUEST: Final = text(f"{_VERSIONS} WHERE v.request_id = :request_id")
_LIST: Final = text(
    f"{_VERSIONS} WHERE CAST(:before AS timestamptz) IS NULL OR v.valid_from < :before "
    "ORDER BY v.valid_from DESC LIMIT :limit"
)
_BEFORE: Final = text(
    f"{_VERSIONS} WHERE v.valid_from < :moment ORDER BY v.valid_from DESC LIMIT 1"
)
_PRICES: Final = text(
    "SELECT target, model, input_nanousd_per_million, output_nanousd_per_million "
    "FROM prices WHERE price_version = :price_version ORDER BY target, model"
)
_ADD_VERSION: Final = text(
    """
    INSERT INTO price_versions (price_version, valid_from, note, request_id)
    VALUES (:price_version, coalesce(CAST(:valid_from AS timestamptz), now()), :note, :request_id)
    ON CONFLICT DO NOTHING RETURNING price_version
    """
)
_ADD_PRICES: Final = text(
    """
    INSERT INTO prices
    SELECT CAST(:price_version AS text), p.*
    FROM unnest(CAST(:targets AS text[]), CAST(:models AS text[]),
                CAST(:inputs AS bigint[]), CAST(:outputs AS bigint[])) AS p
    """
)


class PostgresPriceBook:
    """The `PriceBook` port."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def current(self) -> PriceSnapshot:
        version = await self.find("")
        if version is None:
            raise LookupError("the price book has no version that is valid now")
        return PriceSnapshot(version.price_version, version.prices, version.valid_from)

    async def now(self) -> datetime:
        moment: datetime = (await self._session.execute(text("SELECT now()"))).scalar_one()
        return moment

    async def find(self, price_version: str) -> PriceVersion | None:
        if not price_version:
            found = await self._session.execute(_CURRENT)
        else:
            found = await self._session.execute(_FIND, {"price_version": price_version})
        return await self._with_prices(found.one_or_none())

    async def find_by_request(self, request_id: str) -> PriceVersion | None:
        found = await self._session.execute(_BY_REQUEST, {"request_id": request_id})
        return await self._with_prices(found.one_or_none())

    async def list_versions(self, before: datetime | None, limit: int) -> Sequence[PriceVersion]:
        found = await self._session.execute(_LIST, {"before": before, "limit": limit})
        return [_to_version(row, ()) for row in found]

    async def find_before(self, moment: datetime) -> PriceVersion | None:
        found = await self._session.execute(_BEFORE, {"moment": moment})
        return await self._with_prices(found.one_or_none())

    async def add(self, version: NewPriceVersion, request_id: str | None) -> PriceVersion | None:
        added = await self._session.execute(
            _ADD_VERSION,
            {
                "price_version": version.price_version,
                "valid_from": version.valid_from,
                "note": version.note,
                "request_id": request_id,
            },
        )
        if added.one_or_none() is None:
            return None
        await self._session.execute(
            _ADD_PRICES,
            {
                "price_version": version.price_version,
                "targets": [price.target for price in version.prices],
                "models": [price.model for price in version.prices],
                "inputs": [price.input_nanousd_per_million for price in version.prices],
                "outputs": [price.output_nanousd_per_million for price in version.prices],
            },
        )
        return await self.find(version.price_version)

    async def _with_prices(self, row: Row[Any] | None) -> PriceVersion | None:
        if row is None:
            return None
        found = await self._session.execute(_PRICES, {"price_version": row.price_version})
        prices = tuple(
            Price(
                one.target,
                one.model,
                one.input_nanousd_per_million,
                one.output_nanousd_per_million,
            )
            for one in found
        )
        return _to_version(row, prices)


def _to_version(row: Row[Any], prices: tuple[Price, ...]) -> PriceVersion:
    return PriceVersion(row.price_version, row.valid_from, row.note, row.is_current, prices)
