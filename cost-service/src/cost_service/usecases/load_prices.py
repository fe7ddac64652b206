"""Bring the versions of the reviewed price file into the price book."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import structlog

from cost_service.domain.errors import PriceVersionExists
from cost_service.domain.prices import (
    NewPriceVersion,
    Price,
    PriceVersion,
    lost_prices,
    names_of,
    price_changes,
)
from cost_service.usecases.ports import UnitOfWork, UnitOfWorkFactory

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedVersion:
    """What became of one version of the file.

    `refused` says why it can't be added. For a new version, `replaces` names the one that is valid
    until its moment, stored or new above it in the file ("" where there is none); `changes` is
    what it changes against that, and `lost` are the prices of that which nothing replaces.
    """

    price_version: str
    added: bool
    replaces: str = ""
    changes: tuple[str, ...] = ()
    lost: tuple[Price, ...] = ()
    refused: tuple[str, ...] = ()


class PricesRefused(Exception):
    """The shipped price file and the price book give one version different content."""

    def __init__(self, price_versions: Iterable[str]) -> None:
        super().__init__(
            f"price version {', '.join(price_versions)} is stored with other content than in "
            "price_book.yaml; `load-prices --dry-run` shows the difference"
        )


@dataclass(frozen=True, slots=True)
class LoadPrices:
    """Adds the versions that are not stored yet: all of them, or none if one is refused.

    A version that is stored with other content is refused, since versions never change.
    """

    unit_of_work: UnitOfWorkFactory

    async def __call__(
        self, versions: Sequence[NewPriceVersion], *, dry_run: bool = False
    ) -> tuple[LoadedVersion, ...]:
        """Return what became of each version; with `dry_run` what would become of it.

        Raises:
            PriceVersionExists: Another version is valid from the same moment.
        """
        async with self.unit_of_work() as work:
            judged = await _judged(work, versions)
            if dry_run or any(one.refused for one in judged):
                return judged
            for version, one in zip(versions, judged, strict=True):
                if one.added:
                    await _add(work, version, one.lost)
        return judged


async def _judged(
    work: UnitOfWork, versions: Sequence[NewPriceVersion]
) -> tuple[LoadedVersion, ...]:
    judged = []
    new: list[PriceVersion] = []
    for version in versions:
        stored = await work.prices.find(version.price_version)
        if stored is not None:
            refused = version.differences(stored)
            judged.append(LoadedVersion(version.price_version, added=False, refused=refused))
            continue
        moment = version.valid_from or await work.prices.now()
        known = (await work.prices.find_before(moment), *new)
        earlier = [one for one in known if one is not None and one.valid_from < moment]
        before = max(earlier, key=lambda one: one.valid_from, default=None)
        judged.append(_compared(version, before))
        new.append(PriceVersion(version.price_version, moment, version.note, False, version.prices))
    return tuple(judged)


def _compared(version: NewPriceVersion, before: PriceVersion | None) -> LoadedVersion:
    old = before.prices if before else ()
    return LoadedVersion(
        version.price_version,
        added=True,
        replaces=before.price_version if before else "",
        changes=tuple(price_changes(old, version.prices)),
        lost=lost_prices(old, version.prices),
    )


async def _add(work: UnitOfWork, version: NewPriceVersion, lost: tuple[Price, ...]) -> None:
    if await work.prices.add(version, None) is None:
        # Another start loads the same file at this moment, or the moment is another version's.
        stored = await work.prices.find(version.price_version)
        if stored is None or version.differences(stored):
            raise PriceVersionExists(version.price_version)
        return
    await work.audit.add(
        "price_version.loaded",
        actor="operator",
        subject=f"price version {version.price_version}",
        details={"prices": len(version.prices)},
    )
    log.info("price_version.loaded", price_version=version.price_version)
    if lost:
        log.warning(
            "price_version.prices_lost",
            price_version=version.price_version,
            lost=names_of(lost),
        )
