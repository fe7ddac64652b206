"""Addresses as gRPC wants them."""

import pytest

from service_kit.grpc_client import target_of


@pytest.mark.parametrize(
    ("addresses", "target"),
    [
        ("127.0.0.1:1", "ipv4:127.0.0.1:1"),
        ("127.0.0.1:1,127.0.0.1:2", "ipv4:127.0.0.1:1,127.0.0.1:2"),
        (" 10.0.0.1:1 , 10.0.0.2:2 ,", "ipv4:10.0.0.1:1,10.0.0.2:2"),
        ("[::1]:1,[::2]:2", "ipv6:[::1]:1,[::2]:2"),
        ("job-service:50051", "dns:///job-service:50051"),
        ("localhost:50051", "dns:///localhost:50051"),
        ("localhost:1,localhost:2", "ipv4:127.0.0.1:1,127.0.0.1:2"),
    ],
)
def test_addresses_become_a_target(addresses, target):
    """Lists of IP addresses and single names are what replicas are given as."""
    assert target_of(addresses) == target


@pytest.mark.parametrize(
    "addresses",
    ["", ",", "host", "host:", ":1", "host:x", "h:0", "h:65536", "a:1,b:2", "1.1.1.1:1,[::1]:1"],
)
def test_other_lists_are_refused(addresses):
    """A list that gRPC would quietly misread fails at start."""
    with pytest.raises(ValueError):
        target_of(addresses)
