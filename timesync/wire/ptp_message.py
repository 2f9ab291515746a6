"""PTP messages as values (IEEE 1588-2019, clause 13; IEEE 802.1AS-2020, clauses 10 and 11).

``wire.ptp`` turns them into bytes and back, ``wire.ptp_tlv`` and ``wire.gptp_tlv`` what may hang on them.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from timesync.base.ids import ClockIdentity, PortIdentity
from timesync.base.time import ZERO, Duration, Instant, Tai


class MessageType(enum.IntEnum):
    """``messageType`` (table 36); those below 8 are event messages, whose transmission and reception are stamped."""

    SYNC = 0x0
    DELAY_REQ = 0x1
    PDELAY_REQ = 0x2
    PDELAY_RESP = 0x3
    FOLLOW_UP = 0x8
    DELAY_RESP = 0x9
    PDELAY_RESP_FOLLOW_UP = 0xA
    ANNOUNCE = 0xB
    SIGNALING = 0xC
    MANAGEMENT = 0xD

    @property
    def is_event(self) -> bool:
        """Stamped, and sent to port 319 over UDP."""
        return self < 8


class Flags(enum.IntFlag):
    """``flagField`` (table 37), as a big-endian number of 16 bits."""

    ALTERNATE_TIME_TRANSMITTER = 0x0100
    TWO_STEP = 0x0200
    UNICAST = 0x0400
    PROFILE_1 = 0x2000
    PROFILE_2 = 0x4000
    LEAP_61 = 0x0001
    LEAP_59 = 0x0002
    UTC_OFFSET_VALID = 0x0004
    PTP_TIMESCALE = 0x0008
    TIME_TRACEABLE = 0x0010
    FREQUENCY_TRACEABLE = 0x0020
    SYNCHRONIZATION_UNCERTAIN = 0x0040


NO_FLAGS = Flags(0)
LOG_INTERVAL_NONE = 0x7F
"""``logMessageInterval`` of messages that have none (table 42)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The common header (13.3), but for what the message itself says (type, length, controlField).

    Attributes:
        source: ``sourcePortIdentity``.
        sequence_id: 16 bits.
        domain: ``domainNumber``.
        sdo_id: 12 bits: majorSdoId << 8 | minorSdoId; 0x100 for gPTP.
        flags: ``flagField``.
        correction: ``correctionField``; its unit, 2^-16 ns, is that of ``Duration``.
        log_interval: ``logMessageInterval``, signed; LOG_INTERVAL_NONE where there is none.
        minor_version: ``minorVersionPTP``: 1 for the 2019 edition, 0 for that of 2008.
        message_specific: ``messageTypeSpecific``, 32 bits.
    """

    source: PortIdentity
    sequence_id: int
    domain: int = 0
    sdo_id: int = 0
    flags: Flags = NO_FLAGS
    correction: Duration = ZERO
    log_interval: int = LOG_INTERVAL_NONE
    minor_version: int = 1
    message_specific: int = 0


@dataclass(frozen=True, slots=True)
class Tlv:
    """A type-length-value (14.1) whose content nobody here reads.

    Attributes:
        kind: ``tlvType``.
        value: ``valueField``.
    """

    kind: int
    value: bytes


@dataclass(frozen=True, slots=True, order=True)
class ClockQuality:
    """``ClockQuality`` (5.3.7).

    Attributes:
        clock_class: Table 4; 6 is locked to a primary reference, 248 the default, 255 timeReceiver only.
        accuracy: ``clockAccuracy``, table 5; 0xFE is unknown.
        variance: ``offsetScaledLogVariance``, 7.6.3.3.
    """

    clock_class: int = 248
    accuracy: int = 0xFE
    variance: int = 0xFFFF


@dataclass(frozen=True, slots=True)
class Sync:
    """13.6. ``origin`` is zero, or an estimate, in a two-step Sync."""

    header: Header
    origin: Instant[Tai] = field(default=Instant(0))
    tlvs: tuple[Tlv, ...] = ()


@dataclass(frozen=True, slots=True)
class DelayReq:
    """13.6."""

    header: Header
    origin: Instant[Tai] = field(default=Instant(0))
    tlvs: tuple[Tlv, ...] = ()


@dataclass(frozen=True, slots=True)
class FollowUp:
    """13.7. ``precise_origin`` is when the Sync of this sequence left."""

    header: Header
    precise_origin: Instant[Tai]
    tlvs: tuple[Tlv, ...] = ()


@dataclass(frozen=True, slots=True)
class DelayResp:
    """13.8. ``receive`` is when the Delay_Req of ``requesting`` arrived."""

    header: Header
    receive: Instant[Tai]
    requesting: PortIdentity
    tlvs: tuple[Tlv, ...] = ()


@dataclass(frozen=True, slots=True)
class PdelayReq:
    """13.9."""

    header: Header
    origin: Instant[Tai] = field(default=Instant(0))
    tlvs: tuple[Tlv, ...] = ()


@dataclass(frozen=True, slots=True)
class PdelayResp:
    """13.10. ``request_receipt`` is when the Pdelay_Req arrived."""

    header: Header
    request_receipt: Instant[Tai]
    requesting: PortIdentity
    tlvs: tuple[Tlv, ...] = ()


@dataclass(frozen=True, slots=True)
class PdelayRespFollowUp:
    """13.11. ``response_origin`` is when the Pdelay_Resp left."""

    header: Header
    response_origin: Instant[Tai]
    requesting: PortIdentity
    tlvs: tuple[Tlv, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Announce:
    """13.5.

    Attributes:
        header: Its flags carry leap61, leap59, the validity of the UTC offset, the timescale and traceability.
        origin: ``originTimestamp``, zero or an estimate.
        utc_offset: ``currentUtcOffset``: TAI - UTC in seconds.
        priority1: ``grandmasterPriority1``.
        quality: ``grandmasterClockQuality``.
        priority2: ``grandmasterPriority2``.
        grandmaster: ``grandmasterIdentity``.
        steps_removed: ``stepsRemoved``.
        time_source: ``timeSource``, table 6.
        tlvs: Path trace and others.
    """

    header: Header
    origin: Instant[Tai] = field(default=Instant(0))
    utc_offset: int = 37
    priority1: int = 128
    quality: ClockQuality = field(default_factory=ClockQuality)
    priority2: int = 128
    grandmaster: ClockIdentity
    steps_removed: int = 0
    time_source: int = 0xA0
    tlvs: tuple[Tlv, ...] = ()


@dataclass(frozen=True, slots=True)
class Signaling:
    """13.12; what it means is in its TLVs."""

    header: Header
    target: PortIdentity
    tlvs: tuple[Tlv, ...] = ()


class Action(enum.IntEnum):
    """``actionField`` of a management message (table 57)."""

    GET = 0
    SET = 1
    RESPONSE = 2
    COMMAND = 3
    ACKNOWLEDGE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Management:
    """15.4; its first TLV is a management TLV or a management error.

    Attributes:
        header: As everywhere.
        target: ``targetPortIdentity``; all ones are everybody.
        starting_hops: ``startingBoundaryHops``.
        hops: ``boundaryHops`` left.
        action: ``actionField``.
        tlvs: What is asked or answered.
    """

    header: Header
    target: PortIdentity
    starting_hops: int = 0
    hops: int = 0
    action: Action
    tlvs: tuple[Tlv, ...] = ()


EventMessage = Sync | DelayReq | PdelayReq | PdelayResp
GeneralMessage = FollowUp | DelayResp | PdelayRespFollowUp | Announce | Signaling | Management
Message = EventMessage | GeneralMessage

MESSAGE_TYPES: dict[type[Message], MessageType] = {
    Sync: MessageType.SYNC,
    DelayReq: MessageType.DELAY_REQ,
    PdelayReq: MessageType.PDELAY_REQ,
    PdelayResp: MessageType.PDELAY_RESP,
    FollowUp: MessageType.FOLLOW_UP,
    DelayResp: MessageType.DELAY_RESP,
    PdelayRespFollowUp: MessageType.PDELAY_RESP_FOLLOW_UP,
    Announce: MessageType.ANNOUNCE,
    Signaling: MessageType.SIGNALING,
    Management: MessageType.MANAGEMENT,
}
"""What each kind of message is called in its header (table 36)."""
