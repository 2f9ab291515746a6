"""The NTP packet (RFC 5905, 7.3; extension fields and MAC by RFC 7822, section 3)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from timesync.base.measure import Leap
from timesync.base.time import UNITS_PER_S, Duration, Instant, Utc
from timesync.wire.error import WireError

NTP_TO_UNIX_S = 2_208_988_800
"""Seconds from 1900-01-01 to 1970-01-01 (RFC 5905, figure 4)."""

HEADER = struct.Struct("!BBbbII4sQQQQ")
HEADER_SIZE = HEADER.size
MAX_PACKET = 2048
MAX_EXTENSIONS = 16
MIN_EXTENSION = 16
MAX_MAC = 24
"""Longest MAC after an NTPv4 packet, key id included (RFC 7822, 3): anything longer is an extension field."""

MAX_V4_DIGEST = MAX_MAC - 4
V4_DIGEST_SIZES = frozenset({0, 16, 20})
OLD_DIGEST_SIZES = frozenset({0, 16, 20, 32, 48, 64})
"""Versions 1 to 3 have no extension fields: all after the header is MAC, and a SHA-2 code can stand whole."""

_EXTENSION_HEAD = struct.Struct("!HH")
_MASK64 = (1 << 64) - 1


class Mode(IntEnum):
    """RFC 5905, figure 10."""

    RESERVED = 0
    SYMMETRIC_ACTIVE = 1
    SYMMETRIC_PASSIVE = 2
    CLIENT = 3
    SERVER = 4
    BROADCAST = 5
    CONTROL = 6
    PRIVATE = 7


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension field (RFC 7822, 3).

    Attributes:
        kind: Field type.
        body: The value with its padding, without type and length.
    """

    kind: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Mac:
    """A message authentication code (RFC 5905, figure 8); an empty digest is a crypto-NAK.

    Attributes:
        key_id: Which key.
        digest: The code: 16 or 20 octets (or none), in versions before 4 also 32, 48 or 64.
    """

    key_id: int
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NtpPacket:
    """One NTP packet; timestamps are the raw 64 bits of the wire (RFC 5905, 7.3).

    Attributes:
        leap: Leap indicator.
        version: 1 to 4.
        mode: Association mode.
        stratum: 0 (kiss-o'-death or unspecified) to 255.
        poll: Log2 of the poll interval in seconds.
        precision: Log2 of the precision in seconds.
        root_delay: NTP short format, 16.16 s.
        root_dispersion: NTP short format, 16.16 s.
        reference_id: Four octets.
        reference: When the sender's clock was last set.
        origin: Echo of the request's transmit timestamp (or of an older one in interleaved mode).
        receive: When the request arrived.
        transmit: When this packet left.
        extensions: Extension fields in order.
        mac: The MAC, if any.
    """

    leap: Leap = Leap.NONE
    version: int = 4
    mode: Mode
    stratum: int = 0
    poll: int = 0
    precision: int = 0
    root_delay: int = 0
    root_dispersion: int = 0
    reference_id: bytes = b"\0\0\0\0"
    reference: int = 0
    origin: int = 0
    receive: int = 0
    transmit: int = 0
    extensions: tuple[Extension, ...] = ()
    mac: Mac | None = None


def timestamp_from_utc(at: Instant[Utc]) -> int:
    """The 64-bit timestamp of an instant, its era dropped; rounded to nearest, by under 0.12 ns."""
    return (((at.scaled_ns << 32) + UNITS_PER_S // 2) // UNITS_PER_S + (NTP_TO_UNIX_S << 32)) & _MASK64


def timestamp_to_utc(timestamp: int, pivot: Instant[Utc]) -> Instant[Utc]:
    """The instant nearest to ``pivot`` that has this timestamp, which settles the era (RFC 5905, 6)."""
    near = timestamp_from_utc(pivot)
    difference = (timestamp - near) & _MASK64
    if difference >> 63:
        difference -= 1 << 64
    exact = ((pivot.scaled_ns << 32) + UNITS_PER_S // 2) // UNITS_PER_S + difference
    return Instant((exact * UNITS_PER_S + (1 << 31)) >> 32)


def short_to_duration(short: int) -> Duration:
    """NTP short format (16.16 s) as a duration, rounded down."""
    return Duration(short * UNITS_PER_S >> 16)


def short_from_duration(span: Duration) -> int:
    """A duration in NTP short format, rounded up so that a bound stays one; clamped to 0..65535.99998 s."""
    return min(max(-((-span.scaled_ns << 16) // UNITS_PER_S), 0), 0xFFFFFFFF)


def decode(data: bytes | memoryview) -> NtpPacket:
    """Parse a datagram. Raises WireError, and nothing else, when it is no NTP packet of version 1 to 4."""
    if len(data) < HEADER_SIZE:
        raise WireError(f"{len(data)} octets are too short for an NTP header")
    if len(data) > MAX_PACKET:
        raise WireError(f"{len(data)} octets are too long for an NTP packet")
    if len(data) % 4:
        raise WireError("length is not a multiple of four")
    first, stratum, poll, precision, delay, dispersion, refid, reference, origin, receive, transmit = (
        HEADER.unpack_from(data)
    )
    version = first >> 3 & 7
    if not 1 <= version <= 4:
        raise WireError(f"version {version} is not NTP version 1 to 4")
    extensions, mac = _decode_tail(bytes(data[HEADER_SIZE:]), version)
    return NtpPacket(
        leap=Leap(first >> 6),
        version=version,
        mode=Mode(first & 7),
        stratum=stratum,
        poll=poll,
        precision=precision,
        root_delay=delay,
        root_dispersion=dispersion,
        reference_id=refid,
        reference=reference,
        origin=origin,
        receive=receive,
        transmit=transmit,
        extensions=extensions,
        mac=mac,
    )


def _decode_tail(tail: bytes, version: int) -> tuple[tuple[Extension, ...], Mac | None]:
    """Split what follows the header into extension fields and MAC: up to 24 octets are one (RFC 7822, 3)."""
    extensions: list[Extension] = []
    position = 0
    longest_mac = MAX_MAC if version == 4 else len(tail)
    while (left := len(tail) - position) > longest_mac:
        kind, length = _EXTENSION_HEAD.unpack_from(tail, position)
        if length < MIN_EXTENSION or length % 4 or length > left:
            raise WireError(f"extension field of length {length}")
        if len(extensions) == MAX_EXTENSIONS:
            raise WireError("too many extension fields")
        extensions.append(Extension(kind, tail[position + 4 : position + length]))
        position += length
    rest = tail[position:]
    if not rest:
        return tuple(extensions), None
    if len(rest) - 4 not in (V4_DIGEST_SIZES if version == 4 else OLD_DIGEST_SIZES):
        raise WireError(f"{len(rest)} octets are neither an extension field nor a MAC")
    return tuple(extensions), Mac(int.from_bytes(rest[:4], "big"), rest[4:])


def encode(packet: NtpPacket) -> bytes:
    """The octets of a packet.

    Raises ValueError for a field that does not fit, or a tail that would be read as something else: that is
    our own bug.
    """
    try:
        header = HEADER.pack(
            packet.leap.value << 6 | packet.version << 3 | packet.mode,
            packet.stratum,
            packet.poll,
            packet.precision,
            packet.root_delay,
            packet.root_dispersion,
            packet.reference_id,
            packet.reference,
            packet.origin,
            packet.receive,
            packet.transmit,
        )
    except struct.error as error:
        raise ValueError(f"a header field does not fit: {error}") from None
    # struct pads and cuts strings without a word.
    if not 1 <= packet.version <= 4 or len(packet.reference_id) != 4:
        raise ValueError(f"version {packet.version}, reference id of {len(packet.reference_id)} octets")
    data = header + _encode_tail(packet.extensions, packet.mac, packet.version)
    if len(data) > MAX_PACKET:
        raise ValueError(f"{len(data)} octets are too long for an NTP packet")
    return data


def _encode_tail(extensions: tuple[Extension, ...], mac: Mac | None, version: int) -> bytes:
    if len(extensions) > (MAX_EXTENSIONS if version == 4 else 0):
        raise ValueError(f"{len(extensions)} extension fields in version {version}")
    tail = b""
    if mac is not None:
        if len(mac.digest) not in (V4_DIGEST_SIZES if version == 4 else OLD_DIGEST_SIZES):
            raise ValueError(f"MAC of {len(mac.digest)} octets in version {version}")
        if not 0 <= mac.key_id <= 0xFFFF_FFFF:
            raise ValueError(f"key id {mac.key_id}")
        tail = mac.key_id.to_bytes(4, "big") + mac.digest
    for extension in reversed(extensions):
        length = len(extension.body) + 4
        if not 0 <= extension.kind <= 0xFFFF or length > MAX_PACKET:
            raise ValueError(f"extension field {extension.kind:#x} of {length} octets")
        tail = _EXTENSION_HEAD.pack(extension.kind, length) + extension.body + tail
        # From each field on, more than a MAC's length must follow, or the receiver takes it for one: hence
        # the 28 octets of a last field without a MAC, and of a field and a crypto-NAK together.
        if length % 4 or length < MIN_EXTENSION or len(tail) <= MAX_MAC:
            raise ValueError(f"extension field body of {len(extension.body)} octets")
    return tail
