"""Reference ids of NTPv5: our own, and those that our clients are told, by which they see a loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import ip_address

from timesync.base.ids import SourceId
from timesync.base.machine import Entropy
from timesync.ntp.v5.bloom import BloomFilter, ReferenceId, filter_of, served_filter


class References:
    """Who we are, and whose time the sources have."""

    def __init__(self) -> None:
        """Our id is made when it is first wanted."""
        self._own: ReferenceId | None = None
        self._known: dict[SourceId, Callable[[], BloomFilter]] = {}

    def own(self, entropy: Entropy) -> ReferenceId:
        """Our id, until the daemon ends."""
        if self._own is None:
            self._own = ReferenceId.random(entropy)
        return self._own

    def names(self, entropy: Entropy, addresses: Iterable[str]) -> frozenset[ReferenceId]:
        """All ids by which others may name this machine: our id, and our addresses for who asks in older versions.

        Addresses that others may have as well, such as 192.168.1.1, would show loops where there are none.
        """
        plain = (ip_address(address.partition("%")[0]) for address in addresses)
        return frozenset({self.own(entropy), *(ReferenceId.of_address(str(one)) for one in plain if one.is_global)})

    def follow(self, source: SourceId, filtered: Callable[[], BloomFilter]) -> None:
        """A server is asked; ``filtered`` gives its reference ids, as far as they are known."""
        self._known[source] = filtered

    def leave(self, source: SourceId) -> None:
        """It is asked no more."""
        self._known.pop(source, None)

    def served(self, entropy: Entropy, selected: Iterable[tuple[SourceId, bytes]]) -> BloomFilter:
        """What our clients are told, of the sources that are selected: which, and their reference ids of version 4."""
        filters = []
        for source, code in selected:
            known = self._known.get(source)
            name = code.rstrip(b"\0")
            if known is not None:
                filters.append(known())
            elif name:
                # A receiver, pulses, PTP: a reference clock by its name.
                filters.append(filter_of(ReferenceId.of_clock(name)))
        return served_filter(self.own(entropy), filters)


def filter_of_server(address: str, references: BloomFilter | None) -> BloomFilter:
    """The reference ids of an NTP server: as it hands them out itself, else that which stands for its address."""
    return filter_of(ReferenceId.of_address(address.partition("%")[0])) if references is None else references
