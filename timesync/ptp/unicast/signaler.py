"""What both ends of unicast negotiation share (IEEE 1588-2019, 16.1)."""

from __future__ import annotations

from collections.abc import Iterator

from timesync.base.ids import ALL_CLOCKS, PortIdentity
from timesync.ptp.context import Headers, PortCounters
from timesync.ptp.effect import PtpEffect, SendGeneral
from timesync.wire.ptp_message import Flags, MessageType, Signaling, Tlv

_ALL_PORTS = 0xFFFF


class Signaler:
    """Sends the signaling messages of one port to single addresses."""

    def __init__(self, port: int, headers: Headers, counters: PortCounters) -> None:
        self._port = port
        self._headers = headers
        self._counters = counters

    @property
    def identity(self) -> PortIdentity:
        """Of the port."""
        return self._headers.identity

    def send(self, tlvs: tuple[Tlv, ...], target: PortIdentity, address: str) -> Iterator[PtpEffect]:
        """One message with these TLVs; nothing without any."""
        if not tlvs:
            return
        header = self._headers.make(MessageType.SIGNALING, flags=Flags.UNICAST)
        self._counters.sent[MessageType.SIGNALING] += 1
        data = self._headers.encode(Signaling(header, target, tlvs))
        yield SendGeneral(port=self._port, data=data, destination=address)


def is_for(target: PortIdentity, identity: PortIdentity) -> bool:
    """Whether a ``targetPortIdentity`` means this port (13.12.1): clock and port each may be a wildcard."""
    return target.clock in (ALL_CLOCKS, identity.clock) and target.port in (_ALL_PORTS, identity.port)
