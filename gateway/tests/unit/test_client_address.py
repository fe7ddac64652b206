"""Whose request it is can't be chosen by whoever sends it."""

import pytest

from gateway.entrypoints.client_address import client_address, limiter_identity, parse_networks

PROXY = "10.0.0.1"


def scope(peer, *forwarded):
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    return {"client": (peer, 1234), "headers": headers}


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "address"),
    [
        ([], "1.2.3.4", ["9.9.9.9"], "1.2.3.4"),
        (["10.0.0.0/8"], "1.2.3.4", ["9.9.9.9"], "1.2.3.4"),
        (["10.0.0.0/8"], PROXY, [], PROXY),
        (["10.0.0.0/8"], PROXY, ["5.6.7.8"], "5.6.7.8"),
        (["10.0.0.0/8"], PROXY, ["9.9.9.9, 5.6.7.8"], "5.6.7.8"),
        (["10.0.0.0/8"], PROXY, ["9.9.9.9", "5.6.7.8"], "5.6.7.8"),
        (["10.0.0.0/8"], PROXY, ["9.9.9.9, 5.6.7.8, 10.2.2.2"], "5.6.7.8"),
        (["10.0.0.0/8"], PROXY, ["9.9.9.9, nonsense"], PROXY),
        (["10.0.0.1"], PROXY, ["2001:db8::1"], "2001:db8::1"),
    ],
)
def test_right_most_hop_that_is_not_ours(trusted, peer, forwarded, address):
    """Only what our own proxies wrote counts."""
    assert client_address(scope(peer, *forwarded), parse_networks(trusted)) == address


@pytest.mark.parametrize(
    ("address", "identity"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("", ""),
    ],
)
def test_ipv6_counts_by_its_network(address, identity):
    """Whoever has one IPv6 address has 2**64 of them."""
    assert limiter_identity(address) == identity
