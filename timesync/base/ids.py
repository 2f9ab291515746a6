"""Names of clocks, links and sources; distinct types so that they cannot be swapped."""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from typing import NewType

ClockId = NewType("ClockId", str)
"""A clock of this machine (``system``, ``eth0``, ``bench``) or an outside reference (``ntp:192.0.2.1:123``)."""

LinkId = NewType("LinkId", str)
"""A link between two clocks; every measurement comes over one."""

SourceId = NewType("SourceId", str)
"""A configured or discovered source of time; unique among those that run."""


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """An IP address and a UDP port.

    Attributes:
        address: A numeric IPv4 or IPv6 address, never a name.
        port: UDP port.
        scope: Interface index of a link-local IPv6 address; 0 otherwise.
    """

    address: str
    port: int
    scope: int = 0

    def __str__(self) -> str:
        if ":" in self.address:
            return f"[{self.address}]:{self.port}"
        return f"{self.address}:{self.port}"


ClockIdentity = NewType("ClockIdentity", bytes)
"""A PTP ``clockIdentity``: eight octets, compared as unsigned ones (IEEE 1588-2019, 7.5.2.2)."""


@dataclass(frozen=True, slots=True, order=True)
class PortIdentity:
    """A PTP ``portIdentity`` (IEEE 1588-2019, 7.5.2.1).

    Attributes:
        clock: ``clockIdentity``.
        port: ``portNumber``; 0 stands for the whole clock, 0xFFFF for all ports.
    """

    clock: ClockIdentity
    port: int

    def __str__(self) -> str:
        return f"{identity_text(self.clock)}-{self.port}"


ALL_CLOCKS = ClockIdentity(b"\xff" * 8)
ALL_PORTS = PortIdentity(ALL_CLOCKS, 0xFFFF)
"""The target of signaling and management messages that are meant for everybody."""


def identity_text(identity: ClockIdentity) -> str:
    """As linuxptp writes it: ``aabbcc.fffe.ddeeff``."""
    digits = identity.hex()
    return f"{digits[:6]}.{digits[6:10]}.{digits[10:]}"


def reference_id(address: str) -> bytes:
    """What stands for a server: its IPv4 address, or four octets of an IPv6 address's MD5 (RFC 5905, 7.3)."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            return hashlib.md5(parsed.packed, usedforsecurity=False).digest()[:4]
        parsed = parsed.ipv4_mapped
    return parsed.packed
