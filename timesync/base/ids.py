"""Names of clocks, links and sources; distinct types so that they cannot be swapped."""

from __future__ import annotations

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
