"""Who may ask: networks that are allowed and denied."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network

Network = IPv4Network | IPv6Network

_MAPPED = bytes(10) + b"\xff\xff"


def unmapped(address: bytes) -> bytes:
    """The IPv4 address inside an IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2); any other as it is."""
    return address[12:] if len(address) == 16 and address.startswith(_MAPPED) else address


class AccessList:
    """The longest matching network decides; deny beats allow at equal length; no match means no."""

    def __init__(self, allow: Iterable[Network], deny: Iterable[Network]) -> None:
        verdicts: dict[int, dict[int, dict[int, bool]]] = {4: {}, 16: {}}
        # Denied networks come last, so that they win over an allowed one that is the same.
        for networks, verdict in ((allow, True), (deny, False)):
            for network in networks:
                size = network.max_prefixlen // 8
                shift = network.max_prefixlen - network.prefixlen
                verdicts[size].setdefault(shift, {})[int(network.network_address) >> shift] = verdict
        self._by_length = {size: sorted(shifts.items()) for size, shifts in verdicts.items()}

    def allows(self, address: bytes) -> bool:
        """Whether a packed IPv4 or IPv6 address may ask."""
        address = unmapped(address)
        number = int.from_bytes(address, "big")
        for shift, networks in self._by_length[len(address)]:
            verdict = networks.get(number >> shift)
            if verdict is not None:
                return verdict
        return False
