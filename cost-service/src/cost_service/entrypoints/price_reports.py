"""Prints what became of a price file's versions, for an operator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cost_service.domain.prices import names_of
from cost_service.usecases.load_prices import LoadedVersion


def loaded_lines(loaded: Sequence[LoadedVersion], *, dry_run: bool) -> Iterator[str]:
    """Yield a line for each version, and one for each price that it adds, changes or loses.

    What is left without a price is said once more, since it gets no work then.
    """
    refused = any(one.refused for one in loaded)
    for one in loaded:
        if one.refused:
            yield f"version {one.price_version}: REFUSED, it is stored with other content"
            yield from (f"  stored {change} in the file" for change in one.refused)
        elif not one.added:
            yield f"version {one.price_version}: unchanged"
        else:
            word = "would be added" if dry_run or refused else "added"
            against = f", compared with version {one.replaces}" if one.replaces else ""
            yield f"version {one.price_version}: {word}{against}"
            yield from (f"  {change}" for change in one.changes)
            if one.lost:
                yield f"  WARNING: {names_of(one.lost)} lose their price, and so get no work"
    if refused:
        yield "nothing was loaded: versions never change, new prices are a new version"
