"""The price file that people review: read with the line of whatever is wrong, and written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

import yaml

from cost_service.domain.prices import (
    NewPriceVersion,
    Price,
    nanousd_from_usd,
    require_price,
    usd_text,
)
from service_kit.errors import InvalidArgument

_AMOUNT: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_VERSION_FIELDS: Final = ("price_version", "valid_from", "note", "prices")
_PRICE_FIELDS: Final = ("target", "model", "input_usd", "output_usd")


class PriceFileInvalid(Exception):
    """The price file can't be used. The message names the line and what is wrong there."""


def read_price_file(text: str) -> tuple[NewPriceVersion, ...]:
    """Return the versions of a price file, as they stand there.

    Numbers are read as they are written, never by way of a float.

    Raises:
        PriceFileInvalid: It is no YAML, has a field that is not known, or a price that is none.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise PriceFileInvalid(f"not YAML: {error}") from error
    if root is None:
        raise PriceFileInvalid("line 1: the file is empty")
    fields = _fields(root, ("versions",))
    versions = tuple(_version(node) for node in _items(fields["versions"]))
    names = [version.price_version for version in versions]
    moments = [version.valid_from for version in versions]
    if len(set(names)) != len(names) or len(set(moments)) != len(moments):
        raise _wrong(fields["versions"], "two versions have one name, or one moment")
    return versions


def write_price_file(version: NewPriceVersion, comments: Sequence[str]) -> str:
    """Return a price file with one version, for review; `read_price_file` reads it back."""
    valid_from = version.valid_from.isoformat() if version.valid_from else ""
    lines = [
        *(f"# {comment}" for comment in comments),
        "versions:",
        f"  - price_version: {_quoted(version.price_version)}",
        f"    valid_from: {valid_from}",
        f"    note: {_quoted(version.note)}",
        "    prices:",
        *(
            f"      - {{target: {_quoted(price.target)}, model: {_quoted(price.model)}, "
            f"input_usd: {usd_text(price.input_nanousd_per_million)}, "
            f"output_usd: {usd_text(price.output_nanousd_per_million)}}}"
            for price in version.prices
        ),
    ]
    return "\n".join(lines) + "\n"


def _version(node: yaml.Node) -> NewPriceVersion:
    fields = _fields(node, _VERSION_FIELDS)
    prices = _prices(fields["prices"])
    try:
        return NewPriceVersion(
            _text(fields["price_version"]),
            _moment(fields["valid_from"]),
            _text(fields["note"]),
            prices,
        )
    except InvalidArgument as error:
        raise _wrong(node, error.message) from error


def _prices(node: yaml.Node) -> tuple[Price, ...]:
    found: dict[tuple[str, str], Price] = {}
    for item in _items(node):
        price = _price(item)
        if price.key in found:
            raise _wrong(item, f"{price.target} {price.model} has a price already")
        found[price.key] = price
    return tuple(found.values())


def _price(node: yaml.Node) -> Price:
    fields = _fields(node, _PRICE_FIELDS)
    price = Price(
        _text(fields["target"]),
        _text(fields["model"]),
        _nanousd(fields["input_usd"]),
        _nanousd(fields["output_usd"]),
    )
    try:
        require_price(price)
    except InvalidArgument as error:
        raise _wrong(node, error.message) from error
    return price


def _nanousd(node: yaml.Node) -> int:
    written = _text(node)
    if _AMOUNT.fullmatch(written) is None:
        raise _wrong(node, f"{written!r} is no price: plain US dollars, at most 9 decimals")
    return nanousd_from_usd(Decimal(written))


def _moment(node: yaml.Node) -> datetime:
    written = _text(node)
    try:
        moment = datetime.fromisoformat(written)
    except ValueError as error:
        raise _wrong(node, f"{written!r} is no moment such as 2025-01-01T00:00:00Z") from error
    if moment.tzinfo is None:
        raise _wrong(node, f"{written!r} lacks its time zone, such as Z")
    return moment


def _fields(node: yaml.Node, wanted: Sequence[str]) -> Mapping[str, yaml.Node]:
    """Return the fields of a mapping: all of them, none twice, and no other."""
    if not isinstance(node, yaml.MappingNode):
        raise _wrong(node, f"the fields {', '.join(wanted)} are needed here")
    found: dict[str, yaml.Node] = {}
    for key, value in node.value:
        name = _text(key)
        if name not in wanted:
            raise _wrong(key, f"{name!r} is not known here; known are {', '.join(wanted)}")
        if name in found:
            raise _wrong(key, f"{name!r} stands here twice")
        found[name] = value
    for name in wanted:
        if name not in found:
            raise _wrong(node, f"{name!r} is missing")
    return found


def _items(node: yaml.Node) -> Iterator[yaml.Node]:
    if not isinstance(node, yaml.SequenceNode) or not node.value:
        raise _wrong(node, "a list of at least one entry is needed here")
    yield from node.value


def _text(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise _wrong(node, "one value is needed here")
    return str(node.value)


def _wrong(node: yaml.Node, what: str) -> PriceFileInvalid:
    return PriceFileInvalid(f"line {node.start_mark.line + 1}: {what}")


def _quoted(text: str) -> str:
    # JSON's strings are YAML's, too.
    return json.dumps(text, ensure_ascii=False)
