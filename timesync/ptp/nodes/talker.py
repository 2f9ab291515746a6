"""What is kept of one PTP talker, and of an address that sends something else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from timesync.base.ids import ClockIdentity, PortIdentity
from timesync.base.time import Duration, Instant, Tai
from timesync.ptp.nodes.flow import Flow, Steps, Totals
from timesync.wire.ptp_message import Announce, MessageType

Transport = Literal["udp4", "udp6", "l2"]
EVENT_PORT, GENERAL_PORT = 319, 320

_MAX_VLANS = 8
_MAX_MACS = 4
_RELAYED = frozenset({MessageType.SIGNALING, MessageType.MANAGEMENT})
"""Boundary clocks pass them on with the sender's identity, so their address says nothing of it (15.3.3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One packet.

    Attributes:
        data: What follows the header of UDP or of Ethernet.
        transport: IEEE 1588-2019, annexes C, D and E.
        source: Numeric address of the sender, over IP; else its MAC address.
        destination: The same of the receiver.
        mac: MAC address that sent the frame.
        multicast: It is to a group.
        at_ns: When, on a clock that only grows.
        tai: The same moment by the clock of this machine; None where that is not known.
        port: Destination port of UDP; None over Ethernet.
        vlan: VLAN identifier of the frame's tag, 0 for a tag of priority only; None without one.
    """

    data: bytes
    transport: Transport
    source: str
    destination: str
    mac: str
    multicast: bool
    at_ns: int
    tai: Instant[Tai] | None = None
    port: int | None = None
    vlan: int | None = None


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """What tells one talker from another.

    Attributes:
        domain: ``domainNumber``.
        sdo_id: 12 bits.
        transport: Over what.
        port: ``sourcePortIdentity``.
    """

    domain: int
    sdo_id: int
    transport: Transport
    port: PortIdentity

    @property
    def wire(self) -> tuple[int, int, Transport]:
        """Those who hear each other have it in common."""
        return self.domain, self.sdo_id, self.transport


@dataclass(slots=True)
class Found:
    """Where a talker is.

    Attributes:
        address: The last one it sent from.
        macs: All of its frames, relayed messages apart; a few of them.
        switches: How often its MAC address was another than the time before.
        vlans: VLAN identifiers, None for frames without a tag.
        versions: ``minorVersionPTP``.
        ports_wrong: Event messages to the general port, or the reverse.
    """

    address: str
    macs: list[str] = field(default_factory=list)
    switches: int = 0
    vlans: set[int | None] = field(default_factory=set)
    versions: set[int] = field(default_factory=set)
    ports_wrong: int = 0
    _last: str = ""

    def note(self, packet: Heard, kind: MessageType) -> None:
        """One more packet."""
        if len(self.vlans) < _MAX_VLANS:
            self.vlans.add(packet.vlan)
        if packet.port is not None:
            self.ports_wrong += packet.port != (EVENT_PORT if kind.is_event else GENERAL_PORT)
        if kind in _RELAYED:
            return
        self.address = packet.source
        if packet.mac not in self.macs and len(self.macs) < _MAX_MACS:
            self.macs.append(packet.mac)
        self.switches += bool(self._last) and self._last != packet.mac
        self._last = packet.mac


@dataclass(slots=True)
class Asked:
    """What a talker wanted of others, and got.

    Attributes:
        delay: Multicast Delay_Req messages, and how many had a response.
        pdelay: Pdelay_Req messages, and how many had a response.
        unicast: Requests for unicast transmission, and how many were granted.
        refused: Requests for unicast transmission that were refused.
        responders: Who answered Pdelay_Req; a few of them.
        managed: Management messages that ask or change something.
    """

    delay: Totals = field(default_factory=Totals)
    pdelay: Totals = field(default_factory=Totals)
    unicast: Totals = field(default_factory=Totals)
    refused: int = 0
    responders: set[PortIdentity] = field(default_factory=set)
    managed: int = 0


@dataclass(slots=True)
class Said:
    """What a talker tells about time.

    Attributes:
        announce: The last Announce.
        path: The path trace of it.
        steps: How ``stepsRemoved`` went, of one grandmaster.
        two_step: ``twoStepFlag`` of the last Sync; None before the first.
        two_step_syncs: How many Sync had it.
        empty_syncs: How many had it not, and no time in them.
        ahead: Its last time minus that of this machine, without the delay of the network.
        corrections: Least and greatest ``correctionField`` of messages that carry time.
        organizations: ``organizationId`` and ``organizationSubType`` of the extensions it sends.
        grants: How often it granted or refused unicast transmission.
    """

    announce: Announce | None = None
    path: tuple[ClockIdentity, ...] = ()
    steps: Steps = field(default_factory=Steps)
    two_step: bool | None = None
    two_step_syncs: int = 0
    empty_syncs: int = 0
    ahead: Duration | None = None
    corrections: tuple[Duration, Duration] | None = None
    organizations: set[bytes] = field(default_factory=set)
    grants: int = 0


@dataclass(slots=True)
class Talker:
    """One port of a clock, as it is heard in one domain and over one transport.

    Attributes:
        key: Who.
        first_ns: When it was first heard.
        last_ns: When last.
        messages: How many.
        found: Where it is.
        asked: What it wants.
        said: What it tells.
        multicast: Its messages to groups, by type.
        unicast: Its messages to single receivers, by type.
    """

    key: Key
    first_ns: int
    last_ns: int
    found: Found
    messages: int = 0
    asked: Asked = field(default_factory=Asked)
    said: Said = field(default_factory=Said)
    multicast: dict[MessageType, Flow] = field(default_factory=dict)
    unicast: dict[MessageType, Flow] = field(default_factory=dict)

    def count(self, *kinds: MessageType) -> int:
        """How many messages of these types, to whomever."""
        flows = (self.multicast, self.unicast)
        return sum(flow[kind].count for flow in flows for kind in kinds if kind in flow)

    def flow(self, kind: MessageType) -> Flow | None:
        """Its messages of a type: those to groups where there are any."""
        return self.multicast.get(kind) or self.unicast.get(kind)


@dataclass(slots=True)
class Stranger:
    """An address that sends what is no PTP version 2, or not a whole message of it.

    Attributes:
        address: Of the sender.
        what: ``PTPv1`` with the sender's UUID and port, or what is wrong.
        version_1: It is version 1.
        count: How many packets.
    """

    address: str
    what: str
    version_1: bool
    count: int = 0
