from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from timesync.ntp.access import AccessList

ALLOW = ["0.0.0.0/0", "10.1.0.0/16", "10.1.2.3/32", "192.0.2.0/24", "2001:db8::/32", "2001:db8:1:2::/64"]
DENY = ["10.0.0.0/8", "10.1.2.0/24", "192.0.2.0/24", "2001:db8:1::/48", "2001:db8:1:2::5/128"]


@pytest.mark.parametrize(
    ("address", "allowed", "why"),
    [
        ("8.8.8.8", True, "only 0.0.0.0/0 matches"),
        ("10.9.9.9", False, "/8 denied is longer than /0 allowed"),
        ("10.1.9.9", True, "/16 allowed is longer than /8 denied"),
        ("10.1.2.9", False, "/24 denied is longer than /16 allowed"),
        ("10.1.2.3", True, "/32 allowed is the longest"),
        ("192.0.2.77", False, "allowed and denied at equal length: deny wins"),
        ("192.0.3.1", True, "just beside the denied network"),
        ("::ffff:10.9.9.9", False, "an IPv4-mapped address is the IPv4 address in it"),
        ("::ffff:10.1.2.3", True, "an IPv4-mapped address is the IPv4 address in it"),
        ("2001:db8::1", True, "/32 allowed"),
        ("2001:db8:1::1", False, "/48 denied is longer"),
        ("2001:db8:1:2::1", True, "/64 allowed is longer"),
        ("2001:db8:1:2::5", False, "/128 denied is the longest"),
        ("2001:db9::1", False, "nothing matches"),
        ("::1", False, "nothing matches; 0.0.0.0/0 says nothing of IPv6"),
        ("::", False, "nothing matches"),
    ],
)
def test_the_longest_match_decides(address: str, allowed: bool, why: str) -> None:
    access = AccessList([ip_network(text) for text in ALLOW], [ip_network(text) for text in DENY])

    assert access.allows(ip_address(address).packed) is allowed, why


def test_an_empty_list_allows_nobody() -> None:
    access = AccessList([], [ip_network("0.0.0.0/0")])

    assert not access.allows(bytes([127, 0, 0, 1]))
    assert not access.allows(bytes(16))
