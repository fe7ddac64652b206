"""The price book in Postgres."""

from __future__ import annotations

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from cost_service.domain.prices import Price, PriceSnapshot

_CURRENT: Final = text(
    """
    SELECT v.price_version, v.valid_from, p.target, p.model,
           p.input_nanousd_per_million, p.output_nanousd_per_million
    FROM (
        SELECT price_version, valid_from FROM price_versions
        WHERE valid_from <= now() ORDER BY valid_from DESC LIMIT 1
    ) v
    JOIN prices p USING (price_version)
    ORDER BY p.target, p.model
    """
)


class PostgresPriceBook:
    """The `PriceBook` port."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def current(self) -> PriceSnapshot:
        rows = (await self._session.execute(_CURRENT)).all()
        if not rows:
            raise LookupError("the price book has no version that is valid now")
        prices = tuple(
            Price(
                row.target,
                row.model,
                row.input_nanousd_per_million,
                row.output_nanousd_per_million,
            )
            for row in rows
        )
        return PriceSnapshot(rows[0].price_version, prices, rows[0].valid_from)
