"""How a PTP instance and its ports behave: what a profile and a configuration decide."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from timesync.base.ids import ClockId, ClockIdentity, LinkId, SourceId
from timesync.base.time import ZERO, Duration
from timesync.wire.ptp_message import ClockQuality


class DelayMechanism(enum.Enum):
    """``portDS.delayMechanism`` (table 21)."""

    E2E = 0x01
    P2P = 0x02
    NONE = 0xFE


class Bmca(enum.Enum):
    """Which best timeTransmitter algorithm a profile uses."""

    DEFAULT = "1588"
    G8275 = "g8275"
    G8265 = "g8265"
    """By quality level and an order of preference (ITU-T G.8265.1, 6.7); a timeReceiver gives no time."""
    GPTP = "802.1as"
    NONE = "none"
    """Roles are fixed."""


class Role(enum.Enum):
    """What a port may become."""

    AUTO = "auto"
    TIME_RECEIVER = "timeReceiver"
    TIME_TRANSMITTER = "timeTransmitter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """Log2 of intervals in seconds.

    Attributes:
        announce: ``logAnnounceInterval``; None: none are sent.
        sync: ``logSyncInterval``.
        delay: ``logMinDelayReqInterval`` or ``logMinPdelayReqInterval``.
    """

    announce: int | None = 1
    sync: int = 0
    delay: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UnicastSettings:
    """Unicast negotiation by a port (16.1).

    Attributes:
        servers: Addresses that are asked for their time, the preferred one first.
        grants: Others are granted what they ask for.
        only: Nothing goes multicast, and what comes multicast is not heard.
        duration_s: For how long grants are asked, and given at most (``durationField``).
        clients: Of those that ask, so many at most are granted anything.
    """

    servers: tuple[str, ...] = ()
    grants: bool = False
    only: bool = False
    duration_s: int = 300
    clients: int = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSettings:
    """One port.

    Attributes:
        number: ``portNumber``, from 1.
        name: What the operator calls it: the interface.
        clock: The clock of this machine that stamps its messages.
        source: The identity under which its measurements are followed.
        link: Of its measurements.
        mechanism: How delay is measured.
        role: What it may become.
        intervals: At the start.
        operational: Asked of the other side once locked (802.1AS message interval request); None: never.
        announce_receipt_timeout: Announce intervals without any before the parent is given up.
        sync_receipt_timeout: Sync intervals without any; None: not watched (1588).
        local_priority: G.8275 only.
        asymmetry: ``delayAsymmetry``: positive when the way from the timeTransmitter is the longer one.
        ingress_latency: Subtracted from receive stamps.
        egress_latency: Added to transmit stamps.
        stamp_noise_s: One standard deviation of a stamp.
        hybrid: Delay requests and responses go unicast although Sync is multicast.
        acceptable: Port identities or clock identities in hex that may be followed; empty: all.
        neighbor_threshold: gPTP ``meanLinkDelayThresh``; None: not judged.
        allowed_lost_responses: gPTP.
        unicast: Unicast negotiation; None: all is multicast.
        authenticated: Only messages whose AUTHENTICATION TLV is right come to it.
    """

    number: int
    name: str
    clock: ClockId
    source: SourceId
    link: LinkId
    mechanism: DelayMechanism = DelayMechanism.E2E
    role: Role = Role.AUTO
    intervals: Intervals = field(default_factory=Intervals)
    operational: Intervals | None = None
    announce_receipt_timeout: int = 3
    sync_receipt_timeout: int | None = None
    local_priority: int = 128
    asymmetry: Duration = field(default=ZERO)
    ingress_latency: Duration = field(default=ZERO)
    egress_latency: Duration = field(default=ZERO)
    stamp_noise_s: float = 1e-6
    hybrid: bool = False
    acceptable: frozenset[str] = frozenset()
    neighbor_threshold: Duration | None = None
    allowed_lost_responses: int = 9
    unicast: UnicastSettings | None = None
    authenticated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceSettings:
    """One PTP instance: a domain with its ports.

    Attributes:
        identity: ``clockIdentity``.
        domain: ``domainNumber``.
        sdo_id: 12 bits; 0x100 for gPTP.
        minor_version: Sent; 0 is fallen back to by a port whose transmit stamps do not come.
        bmca: Algorithm.
        priority1: ``priority1``.
        priority2: ``priority2``.
        local_priority: G.8275 ``defaultDS.localPriority``.
        slave_only: ``defaultDS.slaveOnly``, called timeReceiverOnly today: never becomes grandmaster.
        path_trace: Path trace TLVs are kept and sent.
        maximum_steps_removed: Announces of so many or more are not believed (``defaultDS.maxStepsRemoved``).
        gptp: 802.1AS rules on the wire (Follow_Up TLV, asCapable, correction of Pdelay_Resp).
        relay: 802.1AS time-aware bridge: the grandmaster's time is passed through, not regenerated.
        ports: Its ports.
    """

    identity: ClockIdentity
    domain: int = 0
    sdo_id: int = 0
    minor_version: int = 1
    bmca: Bmca = Bmca.DEFAULT
    priority1: int = 128
    priority2: int = 128
    local_priority: int = 128
    slave_only: bool = False
    path_trace: bool = False
    maximum_steps_removed: int = 255
    gptp: bool = False
    relay: bool = False
    ports: tuple[PortSettings, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalQuality:
    """What this clock may claim of its own time now, from the core (``timePropertiesDS`` and ``defaultDS``).

    Attributes:
        quality: Class, accuracy and variance.
        utc_offset: TAI - UTC, seconds.
        utc_offset_valid: It is known to be right.
        leap61: An inserted second at the end of this UTC day.
        leap59: A deleted one.
        ptp_timescale: The time is TAI; false: arbitrary.
        time_traceable: To a primary reference.
        frequency_traceable: To a primary reference.
        time_source: ``timeSource``, table 6.
        synchronized: The clock follows something: its time may be given to others as grandmaster.
    """

    quality: ClockQuality = field(default_factory=ClockQuality)
    utc_offset: int = 37
    utc_offset_valid: bool = False
    leap61: bool = False
    leap59: bool = False
    ptp_timescale: bool = True
    time_traceable: bool = False
    frequency_traceable: bool = False
    time_source: int = 0xA0
    synchronized: bool = False
