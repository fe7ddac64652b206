"""Add a version to the price book."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from cost_service.domain.errors import IdempotencyKeyReused, PriceVersionExists
from cost_service.domain.names import require_request_id
from cost_service.domain.prices import (
    NewPriceVersion,
    Price,
    PriceVersion,
    lost_prices,
    names_of,
)
from cost_service.usecases.actor import actor_of
from cost_service.usecases.platform_admin import require_platform_admin
from cost_service.usecases.ports import UnitOfWork, UnitOfWorkFactory
from service_kit.errors import InvalidArgument
from service_kit.request_context import Caller

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AddedPriceVersion:
    """A version that was added, and the prices of the one before that nothing replaces."""

    version: PriceVersion
    lost: tuple[Price, ...]


@dataclass(frozen=True, slots=True)
class AddPriceVersion:
    """Adds a version that is valid from now on or later: what was agreed is never repriced."""

    unit_of_work: UnitOfWorkFactory

    async def __call__(
        self, caller: Caller, request_id: str, version: NewPriceVersion
    ) -> AddedPriceVersion:
        """Return the version; the same request again returns the first one.

        Raises:
            PermissionDenied: The caller does not administer the platform.
            InvalidArgument: It would be valid from a moment that is over.
            PriceVersionExists: Its name or its moment is taken.
            IdempotencyKeyReused: The request id added something else.
        """
        require_platform_admin(caller, "prices:write")
        require_request_id(request_id)
        async with self.unit_of_work() as work:
            added = await _find_added(work, request_id, version)
            if added is not None:
                return await _with_losses(work, added)
            if version.valid_from is not None and version.valid_from < await work.prices.now():
                raise InvalidArgument("valid_from", "A version can't be valid from the past on.")
            added = await work.prices.add(version, request_id)
            if added is None:
                # Whoever had the name, the moment or the request first has committed by now.
                repeated = await _find_added(work, request_id, version)
                if repeated is None:
                    raise PriceVersionExists(version.price_version)
                return await _with_losses(work, repeated)
            await work.audit.add(
                "price_version.added",
                actor=actor_of(caller),
                subject=f"price version {added.price_version}",
                details={"valid_from": added.valid_from.isoformat(), "prices": len(added.prices)},
            )
            told = await _with_losses(work, added)
        log.info("price_version.added", price_version=added.price_version)
        if told.lost:
            log.warning(
                "price_version.prices_lost",
                price_version=added.price_version,
                lost=names_of(told.lost),
            )
        return told


async def _with_losses(work: UnitOfWork, added: PriceVersion) -> AddedPriceVersion:
    before = await work.prices.find_before(added.valid_from)
    return AddedPriceVersion(added, lost_prices(before.prices if before else (), added.prices))


async def _find_added(
    work: UnitOfWork, request_id: str, version: NewPriceVersion
) -> PriceVersion | None:
    added = await work.prices.find_by_request(request_id)
    if added is None:
        return None
    if added.price_version != version.price_version or version.differences(added):
        raise IdempotencyKeyReused
    return added
