"""SMPTE's synchronization metadata: told once a second by the grandmaster, and heard (SMPTE ST 2059-2, 5.13).

It travels in Management messages with the action COMMAND that nobody answers. Boundary clocks pass them on as they
pass all management on while hops are left (IEEE 1588-2019, 15.3.3; ``ptp.management`` does it).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from timesync.base.ids import ALL_PORTS, ClockIdentity
from timesync.base.time import Duration, Instant, Mono
from timesync.ptp.context import Context
from timesync.ptp.effect import PtpEffect, SendGeneral
from timesync.ptp.port import Port
from timesync.ptp.states import PortState
from timesync.wire.ptp_message import Action, Management, MessageType
from timesync.wire.ptp_tlv_profile import SynchronizationMetadata
from timesync.wire.ptp_tlv_read import find

_INTERVAL = Duration.from_s(1)
_KEPT = Duration.from_s(10)
"""What was heard so long ago is not shown any more."""

_HOPS = 16
"""``startingBoundaryHops``: more boundary clocks than stand one behind the other in any plant."""


class Metadata:
    """The metadata of one instance."""

    def __init__(self, context: Context, ports: Iterable[Port]) -> None:
        """Nothing is sent before there is something to say."""
        self._context = context
        self._ports = tuple(ports)
        self._due: Instant[Mono] | None = None
        self._heard: tuple[ClockIdentity, SynchronizationMetadata, Instant[Mono]] | None = None

    def deadline(self) -> Instant[Mono] | None:
        """When ``on_deadline`` wants to be called."""
        return self._due

    def changed(self, now: Instant[Mono]) -> None:
        """What is to be said has changed: there is something from now on, or nothing any more."""
        if self._context.extras.metadata is None:
            self._due = None
        elif self._due is None:
            self._due = now

    def on_deadline(self, now: Instant[Mono]) -> Iterator[PtpEffect]:
        """Tell it, where this clock is the grandmaster and its ports give time to all."""
        if self._heard is not None and now - self._heard[2] > _KEPT:
            self._heard = None
        said = self._context.extras.metadata
        if self._due is None or self._due > now or said is None:
            return
        self._due = now + _INTERVAL
        if not self._context.is_grandmaster:
            return
        for port in self._ports:
            unicast = port.settings.unicast
            if port.state is PortState.TIME_TRANSMITTER and (unicast is None or not unicast.only):
                yield self._send(port, said)

    def _send(self, port: Port, said: SynchronizationMetadata) -> SendGeneral:
        message = Management(
            header=port.headers.make(MessageType.MANAGEMENT),
            target=ALL_PORTS,
            starting_hops=_HOPS,
            hops=_HOPS,
            action=Action.COMMAND,
            tlvs=(said.to_tlv(),),
        )
        port.counters.sent[MessageType.MANAGEMENT] += 1
        return SendGeneral(port=port.settings.number, data=port.headers.encode(message))

    def on_management(self, message: Management, port: Port, now: Instant[Mono]) -> None:
        """A Management message came in: that of the grandmaster, by the port that follows it, may tell something."""
        source = message.header.source
        wanted = source == port.parent or source.clock == self._context.sets.parent.grandmaster
        if message.action is not Action.COMMAND or port.parent is None or not wanted:
            return
        found = find(message.tlvs, SynchronizationMetadata)
        if found is not None:
            self._heard = self._context.sets.parent.grandmaster, found, now

    def heard(self) -> SynchronizationMetadata | None:
        """What the present grandmaster said last; None when that was long ago."""
        if self._heard is None or self._heard[0] != self._context.sets.parent.grandmaster:
            return None
        return self._heard[1]
