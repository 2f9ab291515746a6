"""UNICAST_MASTER_TABLE_NP: whom a port asks for unicast messages, as linuxptp's ``pmc`` shows it."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from timesync.base.ids import ClockIdentity, PortIdentity
from timesync.ptp.unicast.client import ServerView
from timesync.wire.ptp_management_data import NetworkProtocol, PortAddress
from timesync.wire.ptp_management_np import UnicastTable, UnicastTimeTransmitter
from timesync.wire.ptp_message import ClockQuality

_NOBODY = PortIdentity(ClockIdentity(bytes(8)), 0)
_UNKNOWN = ClockQuality(0, 0, 0)


def unicast_table(protocol: NetworkProtocol, servers: Iterable[ServerView]) -> UnicastTable:
    """The table of a port; what is not known of a server yet is zero."""
    return UnicastTable(tuple(_entry(protocol, one) for one in servers))


def _entry(protocol: NetworkProtocol, server: ServerView) -> UnicastTimeTransmitter:
    announce = server.announce
    return UnicastTimeTransmitter(
        port=_NOBODY if server.identity is None else server.identity,
        quality=_UNKNOWN if announce is None else announce.quality,
        selected=server.selected,
        state=server.state.value,
        priority1=0 if announce is None else announce.priority1,
        priority2=0 if announce is None else announce.priority2,
        address=PortAddress(protocol, _octets(protocol, server.address)),
    )


def _octets(protocol: NetworkProtocol, address: str) -> bytes:
    if protocol is NetworkProtocol.IEEE_802_3:
        return bytes.fromhex(address.replace(":", ""))
    return ip_address(address).packed
