"""Whose address a request comes from."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

from starlette.types import Scope

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_IPV6_PREFIX: Final = 64


def parse_networks(values: Iterable[str]) -> tuple[Network, ...]:
    """Return the networks of TRUSTED_PROXIES."""
    return tuple(ipaddress.ip_network(value, strict=False) for value in values)


def client_address(scope: Scope, trusted: tuple[Network, ...]) -> str:
    """Return the address of the nearest hop that is no proxy of ours.

    Only hops that our own proxies wrote are believed: from the right, as long as
    the hop before is trusted. What a client writes further left has no effect.
    """
    peer = scope.get("client")
    address: str = peer[0] if peer else ""
    if not trusted:
        return address
    hops = _forwarded_for(scope)
    while hops and _is_trusted(address, trusted):
        hop = hops.pop()
        if _parse(hop) is None:
            break
        address = hop
    return address


def limiter_identity(address: str) -> str:
    """Return what is counted as one client: an IPv4 address, or a /64 of IPv6."""
    parsed = _parse(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, _IPV6_PREFIX), strict=False))
    return address


def _forwarded_for(scope: Scope) -> list[str]:
    values = [
        value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"
    ]
    return [hop.strip() for value in values for hop in value.split(",") if hop.strip()]


def _is_trusted(address: str, trusted: tuple[Network, ...]) -> bool:
    parsed = _parse(address)
    return parsed is not None and any(parsed in network for network in trusted)


def _parse(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(address)
    except ValueError:
        return None
