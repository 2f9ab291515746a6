"""PTP messages from bytes and back (IEEE 1588-2019, clause 13; IEEE 802.1AS-2020, 10.6 and 11.4).

What follows the last octet that ``messageLength`` counts is the transport's (the padding of a short Ethernet frame, the
two octets of annex D, a trailer of PRP) and is not looked at; inside it every octet must be accounted for.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import assert_never

from timesync.base.ids import ClockIdentity, PortIdentity
from timesync.base.time import NS_PER_S, Duration, Instant, Tai
from timesync.wire.error import WireError
from timesync.wire.ptp_message import (
    Action,
    Announce,
    ClockQuality,
    DelayReq,
    DelayResp,
    Flags,
    FollowUp,
    Header,
    Management,
    Message,
    MessageType,
    PdelayReq,
    PdelayResp,
    PdelayRespFollowUp,
    Signaling,
    Sync,
    Tlv,
)

VERSION = 2
"""``versionPTP``: both the edition of 2008 and that of 2019."""

HEADER_SIZE = 34
MAX_TLVS = 64
"""More of them in one message are refused; the longest chain of a profile has fewer than ten."""

CORRECTION_TOO_BIG = Duration((1 << 63) - 1)
"""A ``correctionField`` that stands for a value too big to be written (13.3.2.9)."""

_LEAST_CORRECTION = -1 << 63

_HEADER = struct.Struct(">BBHBBHqI8sHHBb")
_TIMESTAMP = struct.Struct(">HII")
_PDELAY_REQ = struct.Struct(">HII10x")
_RESPONSE = struct.Struct(">HII8sH")
_ANNOUNCE = struct.Struct(">HIIhxBBBHB8sHB")
_TARGET = struct.Struct(">8sH")
_MANAGEMENT = struct.Struct(">8sHBBBx")
_TLV = struct.Struct(">HH")

_LENGTH = slice(2, 4)
_CORRECTION = slice(8, 16)
_IDENTITY_SIZE = 8
_KNOWN_FLAGS = 0x677F
_FLAGS = {value: Flags(value) for value in (0, 0x0200, 0x0400, 0x0600, 0x003C, 0x0008, 0x000C)}

_CONTROL_2008 = {
    MessageType.SYNC: 0,
    MessageType.DELAY_REQ: 1,
    MessageType.FOLLOW_UP: 2,
    MessageType.DELAY_RESP: 3,
    MessageType.MANAGEMENT: 4,
}
"""``controlField`` of the 2008 edition (its table 23; all others are 5); that of 2019 writes zero."""


def whole_ns(at: Instant[Tai]) -> tuple[Instant[Tai], Duration]:
    """An instant cut to whole nanoseconds, as ``Timestamp`` holds it, and the rest for ``correctionField``."""
    rest = at.scaled_ns & 0xFFFF
    return Instant(at.scaled_ns - rest), Duration(rest)


def decode(data: bytes) -> Message:
    """Parse a message. Raises WireError, and nothing else, when it is none of PTP version 2.

    Reserved fields and flags are dropped unread. ``controlField`` is too: what it once said is in ``messageType``.
    """
    if len(data) < HEADER_SIZE:
        raise WireError(f"{len(data)} octets are too short for a PTP header")
    (
        first,
        version,
        length,
        domain,
        minor_sdo,
        flags,
        correction,
        specific,
        clock,
        port,
        sequence_id,
        _,
        log_interval,
    ) = _HEADER.unpack_from(data)
    if version & 0xF != VERSION:
        raise WireError(f"PTP version {version & 0xF}")
    reader = _READERS.get(first & 0xF)
    if reader is None:
        raise WireError(f"message type {first & 0xF:#x} is reserved")
    size, read = reader
    if not size <= length <= len(data):
        raise WireError(f"messageLength {length} of type {first & 0xF:#x} in {len(data)} octets")
    known = _FLAGS.get(flags)
    header = Header(
        source=PortIdentity(clock, port),
        sequence_id=sequence_id,
        domain=domain,
        sdo_id=(first & 0xF0) << 4 | minor_sdo,
        flags=Flags(flags & _KNOWN_FLAGS) if known is None else known,
        correction=Duration(correction),
        log_interval=log_interval,
        minor_version=version >> 4,
        message_specific=specific,
    )
    return read(header, data, _read_tlvs(data, size, length) if length > size else ())


def _read_tlvs(data: bytes, position: int, end: int) -> tuple[Tlv, ...]:
    """The chain from ``position`` to ``end``, which it must fill (14.1)."""
    tlvs: list[Tlv] = []
    while position < end:
        if end - position < _TLV.size:
            raise WireError(f"{end - position} octets after the last TLV")
        kind, length = _TLV.unpack_from(data, position)
        position += _TLV.size
        if length % 2 or length > end - position:
            raise WireError(f"TLV {kind:#06x} of length {length} with {end - position} octets left")
        if len(tlvs) == MAX_TLVS:
            raise WireError("too many TLVs")
        tlvs.append(Tlv(kind, bytes(data[position : position + length])))
        position += length
    return tuple(tlvs)


def _instant(high: int, low: int, nanoseconds: int) -> Instant[Tai]:
    """A ``Timestamp`` (5.3.3): 48 bits of seconds, and nanoseconds that are fewer than a second."""
    if nanoseconds >= NS_PER_S:
        raise WireError(f"timestamp with {nanoseconds} ns")
    return Instant((((high << 32) | low) * NS_PER_S + nanoseconds) << 16)


def _read_sync(header: Header, data: bytes, tlvs: tuple[Tlv, ...]) -> Message:
    return Sync(header, _instant(*_TIMESTAMP.unpack_from(data, HEADER_SIZE)), tlvs)


def _read_delay_req(header: Header, data: bytes, tlvs: tuple[Tlv, ...]) -> Message:
    return DelayReq(header, _instant(*_TIMESTAMP.unpack_from(data, HEADER_SIZE)), tlvs)


def _read_pdelay_req(header: Header, data: bytes, tlvs: tuple[Tlv, ...]) -> Message:
    return PdelayReq(header, _instant(*_TIMESTAMP.unpack_from(data, HEADER_SIZE)), tlvs)


def _read_follow_up(header: Header, data: bytes, tlvs: tuple[Tlv, ...]) -> Message:
    return FollowUp(header, _instant(*_TIMESTAMP.unpack_from(data, HEADER_SIZE)), tlvs)


def _read_delay_resp(header: Header, data: bytes, tlvs: tuple[Tlv, ...]) -> Message:
    high, low, nanoseconds, clock, port = _RESPONSE.unpack_from(data, HEADER_SIZE)
    return DelayResp(header, _instant(high, low, nanoseconds), PortIdentity(clock, port), tlvs)


def _read_pdelay_resp(header: Header, data: bytes, tlvs: tuple[Tlv, ...]) -> Message:
    high, low, nanoseconds, clock, port = _RESPONSE.unpack_from(data, HEADER_SIZE)
    return PdelayResp(header, _instant(high, low, nanoseconds), PortIdentity(clock, port), tlvs)


def _read_pdelay_resp_follow_up(header: Header, data: bytes, tlvs: tuple[Tlv, ...]) -> Message:
    high, low, nanoseconds, clock, port = _RESPONSE.unpack_from(data, HEADER_SIZE)
    return PdelayRespFollowUp(header, _instant(high, low, nanoseconds), PortIdentity(clock, port), tlvs)


def _read_announce(header: Header, data: bytes, tlvs: tuple[Tlv, ...]) -> Message:
    high, low, nanoseconds, utc_offset, priority1, clock_class, accuracy, variance, priority2, clock, steps, source = (
        _ANNOUNCE.unpack_from(data, HEADER_SIZE)
    )
    return Announce(
        header=header,
        origin=_instant(high, low, nanoseconds),
        utc_offset=utc_offset,
        priority1=priority1,
        quality=ClockQuality(clock_class, accuracy, variance),
        priority2=priority2,
        grandmaster=clock,
        steps_removed=steps,
        time_source=source,
        tlvs=tlvs,
    )


def _read_signaling(header: Header, data: bytes, tlvs: tuple[Tlv, ...]) -> Message:
    clock, port = _TARGET.unpack_from(data, HEADER_SIZE)
    return Signaling(header, PortIdentity(clock, port), tlvs)


def _read_management(header: Header, data: bytes, tlvs: tuple[Tlv, ...]) -> Message:
    clock, port, starting_hops, hops, action = _MANAGEMENT.unpack_from(data, HEADER_SIZE)
    if action & 0xF > Action.ACKNOWLEDGE:
        raise WireError(f"management action {action & 0xF}")
    return Management(
        header=header,
        target=PortIdentity(clock, port),
        starting_hops=starting_hops,
        hops=hops,
        action=Action(action & 0xF),
        tlvs=tlvs,
    )


_Reader = Callable[[Header, bytes, tuple[Tlv, ...]], Message]
_READERS: dict[int, tuple[int, _Reader]] = {
    MessageType.SYNC.value: (44, _read_sync),
    MessageType.DELAY_REQ.value: (44, _read_delay_req),
    MessageType.PDELAY_REQ.value: (54, _read_pdelay_req),
    MessageType.PDELAY_RESP.value: (54, _read_pdelay_resp),
    MessageType.FOLLOW_UP.value: (44, _read_follow_up),
    MessageType.DELAY_RESP.value: (54, _read_delay_resp),
    MessageType.PDELAY_RESP_FOLLOW_UP.value: (54, _read_pdelay_resp_follow_up),
    MessageType.ANNOUNCE.value: (64, _read_announce),
    MessageType.SIGNALING.value: (44, _read_signaling),
    MessageType.MANAGEMENT.value: (48, _read_management),
}
"""By type: the length without TLVs, and who reads the body."""


def encode(message: Message, *, pad: int = 0) -> bytes:
    """The octets of a message, and ``pad`` octets of zero that its ``messageLength`` does not count (2 over UDP/IPv6).

    Timestamps lose what they have under a nanosecond (``whole_ns`` saves it). A correction that 64 bits cannot hold, up
    or down, is written as CORRECTION_TOO_BIG: whoever gets it must not use it. Raises ValueError for any other field
    that does not fit: that is our own bug.
    """
    try:
        kind, body = _body(message)
        tail = b"".join(map(_tlv, message.tlvs)) if message.tlvs else b""
        data = _head(message.header, kind, HEADER_SIZE + len(body) + len(tail)) + body + tail
    except struct.error as error:
        raise ValueError(f"a field of a {type(message).__name__} does not fit: {error}") from None
    if len(message.tlvs) > MAX_TLVS:
        raise ValueError(f"{len(message.tlvs)} TLVs")
    return data + bytes(pad) if pad else data


def _head(header: Header, kind: MessageType, length: int) -> bytes:
    source, sdo_id, minor = header.source, header.sdo_id, header.minor_version
    if not (0 <= sdo_id <= 0xFFF and 0 <= minor <= 0xF and len(source.clock) == _IDENTITY_SIZE):
        raise ValueError(f"sdoId {sdo_id:#x}, minorVersionPTP {minor}, source {source}")
    correction = header.correction.scaled_ns
    if not _LEAST_CORRECTION <= correction <= CORRECTION_TOO_BIG.scaled_ns:
        correction = CORRECTION_TOO_BIG.scaled_ns
    return _HEADER.pack(
        sdo_id >> 4 & 0xF0 | kind,
        minor << 4 | VERSION,
        length,
        header.domain,
        sdo_id & 0xFF,
        header.flags,
        correction,
        header.message_specific,
        source.clock,
        source.port,
        header.sequence_id,
        0 if minor else _CONTROL_2008.get(kind, 5),
        header.log_interval,
    )


def _body(message: Message) -> tuple[MessageType, bytes]:
    match message:
        case Sync():
            return MessageType.SYNC, _TIMESTAMP.pack(*_stamp(message.origin))
        case DelayReq():
            return MessageType.DELAY_REQ, _TIMESTAMP.pack(*_stamp(message.origin))
        case FollowUp():
            return MessageType.FOLLOW_UP, _TIMESTAMP.pack(*_stamp(message.precise_origin))
        case DelayResp():
            return MessageType.DELAY_RESP, _RESPONSE.pack(*_stamp(message.receive), *_port(message.requesting))
        case PdelayReq():
            return MessageType.PDELAY_REQ, _PDELAY_REQ.pack(*_stamp(message.origin))
        case PdelayResp():
            return MessageType.PDELAY_RESP, _RESPONSE.pack(*_stamp(message.request_receipt), *_port(message.requesting))
        case PdelayRespFollowUp():
            return MessageType.PDELAY_RESP_FOLLOW_UP, _RESPONSE.pack(
                *_stamp(message.response_origin), *_port(message.requesting)
            )
        case Announce():
            return MessageType.ANNOUNCE, _announce(message)
        case Signaling():
            return MessageType.SIGNALING, _TARGET.pack(*_port(message.target))
        case Management():
            return MessageType.MANAGEMENT, _MANAGEMENT.pack(
                *_port(message.target), message.starting_hops, message.hops, message.action
            )
        case _:
            assert_never(message)


def _stamp(at: Instant[Tai]) -> tuple[int, int, int]:
    seconds, nanoseconds = divmod(at.scaled_ns >> 16, NS_PER_S)
    return seconds >> 32, seconds & 0xFFFF_FFFF, nanoseconds


def _port(identity: PortIdentity) -> tuple[ClockIdentity, int]:
    # struct pads and cuts strings without a word.
    if len(identity.clock) != _IDENTITY_SIZE:
        raise ValueError(f"clockIdentity of {len(identity.clock)} octets")
    return identity.clock, identity.port


def _announce(message: Announce) -> bytes:
    if len(message.grandmaster) != _IDENTITY_SIZE:
        raise ValueError(f"grandmasterIdentity of {len(message.grandmaster)} octets")
    return _ANNOUNCE.pack(
        *_stamp(message.origin),
        message.utc_offset,
        message.priority1,
        message.quality.clock_class,
        message.quality.accuracy,
        message.quality.variance,
        message.priority2,
        message.grandmaster,
        message.steps_removed,
        message.time_source,
    )


def _tlv(tlv: Tlv) -> bytes:
    if len(tlv.value) % 2:
        raise ValueError(f"TLV {tlv.kind:#06x} of {len(tlv.value)} octets")
    return _TLV.pack(tlv.kind, len(tlv.value)) + tlv.value


def icv_input(data: bytes, icv_size: int, *, mutable_correction: bool = False) -> bytes:
    """What the ICV of an AUTHENTICATION TLV at the end of a message protects: all before the ICV (16.14.3).

    Args:
        data: The encoded message; octets beyond its ``messageLength`` are not protected.
        icv_size: Octets of the ICV.
        mutable_correction: Read ``correctionField`` as zero, for paths whose transparent clocks have no key.

    Raises WireError when the message is too short to hold such a TLV.
    """
    end = _message_end(data, icv_size)
    if mutable_correction:
        return data[: _CORRECTION.start] + bytes(8) + data[_CORRECTION.stop : end]
    return data[:end]


def set_icv(data: bytes, icv: bytes) -> bytes:
    """An encoded message whose last octets, so far zero, are replaced by its ICV. Raises as ``icv_input``."""
    end = _message_end(data, len(icv))
    return data[:end] + icv + data[end + len(icv) :]


def _message_end(data: bytes, icv_size: int) -> int:
    """Where the ICV at the end of the message begins."""
    length = int.from_bytes(data[_LENGTH], "big")
    if not HEADER_SIZE + icv_size <= length <= len(data):
        raise WireError(f"messageLength {length} in {len(data)} octets leaves no room for an ICV of {icv_size}")
    return length - icv_size
