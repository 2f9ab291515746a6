"""The NTPv5 message (draft-ietf-ntp-ntpv5-07, "Data Types", "Message Format" and "Extension Fields").

The layout is that of the drafts from -06 on, which moved header fields; an older draft has another one. Nothing here
is final, so each message names its draft, and what is not ours by name is not ours at all (``ntp5_ext.DRAFTS``).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

from timesync.base.measure import Leap
from timesync.base.time import NS_PER_S, UNITS_PER_S, Duration
from timesync.wire.error import WireError
from timesync.wire.ntp import HEADER_SIZE, MAX_EXTENSIONS, MAX_PACKET, NTP_TO_UNIX_S, Extension, Mode
from timesync.wire.ntp_ext import encode_field

VERSION: Final = 5

UPGRADE_DRAFT: Final = 0x4E54_5035_4452_4654
"""``NTP5DRFT``: the reference timestamp by which a request of an older version asks whether the server speaks NTPv5,
and by which the server says so ("NTPv5 Negotiation in Previous NTP Versions")."""

NEVER: Final = 127
"""Poll by which a server says that it does not want to hear from this client again."""

UNKNOWN_TIME32: Final = 0xFFFF_FFFF
"""The greatest time32, which also stands for all that is longer."""

_HEADER: Final = struct.Struct("!BBbbIIBBHQQQQ")
_FIELD_HEAD: Final = struct.Struct("!HH")
_MIN_FIELD: Final = 4
_MASK64: Final = (1 << 64) - 1
_FRACTION: Final = 28


class Timescale(IntEnum):
    """Of the timestamps of a message; a peer may name others."""

    UTC = 0
    TAI = 1
    UT1 = 2
    SMEARED = 3
    """UTC with its leap seconds spread; who follows it applies none himself."""


class Flag(IntFlag):
    """Header flags; bits without a name are kept, and mean nothing to us."""

    SYNCHRONIZED = 1
    """The timestamps of this answer may be used."""
    INTERLEAVED = 2
    """In a request: save the transmit timestamp of the answer, and give that of the answer which the server cookie
    names. In an answer: the transmit timestamp is of that one."""
    AUTHENTICATION_NAK = 4
    """The server could not authenticate the request."""


NO_FLAGS: Final = Flag(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ntp5Packet:
    """One NTPv5 message. In requests all is 0 but mode, timescale, flags and cookies.

    Attributes:
        leap: Leap second in the next 14 days; UNKNOWN says nothing of synchronisation here.
        mode: CLIENT or SERVER.
        stratum: 0 for unknown: the server has no time, or none for this client.
        poll: Shortest interval that the server allows, log2 s; ``NEVER`` to be left alone.
        precision: Of the timestamps, log2 s.
        root_delay: time32, 2^-28 s.
        root_dispersion: time32.
        timescale: One of ``Timescale``, or what the peer takes for one.
        era: NTP era of ``receive``.
        flags: Of ``Flag``.
        server_cookie: The server's name for an answer, by which the next request refers to it.
        client_cookie: 64 random bits of the request, the same in its answer.
        receive: When the request arrived: 2^-32 s in the era; 0 for unknown.
        transmit: When an answer left, this one or that of the request's server cookie.
        extensions: In order; bodies without the padding.
    """

    leap: Leap = Leap.NONE
    mode: Mode
    stratum: int = 0
    poll: int = 0
    precision: int = 0
    root_delay: int = 0
    root_dispersion: int = 0
    timescale: int = Timescale.UTC
    era: int = 0
    flags: Flag = NO_FLAGS
    server_cookie: int = 0
    client_cookie: int = 0
    receive: int = 0
    transmit: int = 0
    extensions: tuple[Extension, ...] = ()


def decode(data: bytes) -> Ntp5Packet:
    """Parse a datagram. Raises WireError, and nothing else, when it is no NTPv5 message.

    An unknown timescale or flag is no error: a server answers such a request as well as it can.
    """
    size = len(data)
    if size < HEADER_SIZE:
        raise WireError(f"{size} octets are too short for an NTP header")
    if size > MAX_PACKET or size % 4:
        raise WireError(f"{size} octets are too long for an NTP packet, or not a multiple of four")
    (
        first,
        stratum,
        poll,
        precision,
        delay,
        dispersion,
        timescale,
        era,
        flags,
        server_cookie,
        client_cookie,
        receive,
        transmit,
    ) = _HEADER.unpack_from(data)
    if first >> 3 & 7 != VERSION:
        raise WireError(f"version {first >> 3 & 7} is not 5")
    mode = Mode(first & 7)
    if mode not in (Mode.CLIENT, Mode.SERVER):
        raise WireError(f"version 5 has no mode {mode}")
    return Ntp5Packet(
        leap=Leap(first >> 6),
        mode=mode,
        stratum=stratum,
        poll=poll,
        precision=precision,
        root_delay=delay,
        root_dispersion=dispersion,
        timescale=timescale,
        era=era,
        flags=Flag(flags),
        server_cookie=server_cookie,
        client_cookie=client_cookie,
        receive=receive,
        transmit=transmit,
        extensions=tuple(field for _, field in fields_of(data)),
    )


def fields_of(data: bytes) -> list[tuple[int, Extension]]:
    """The extension fields of a message, each with the place where it starts. Raises WireError.

    A field's length leaves the padding out, which follows it up to a multiple of four; its octets are not looked at.
    """
    found: list[tuple[int, Extension]] = []
    position, size = HEADER_SIZE, len(data)
    while position < size:
        if size - position < _MIN_FIELD:
            raise WireError("octets that are no extension field")
        kind, length = _FIELD_HEAD.unpack_from(data, position)
        end = position + (length + 3 & ~3)
        if length < _MIN_FIELD or end > size:
            raise WireError(f"extension field of length {length}")
        if len(found) == MAX_EXTENSIONS:
            raise WireError("too many extension fields")
        found.append((position, Extension(kind, data[position + _MIN_FIELD : position + length])))
        position = end
    return found


def encode(packet: Ntp5Packet) -> bytes:
    """The octets of a message. Raises ValueError for a field that does not fit: that is our own bug."""
    if packet.mode not in (Mode.CLIENT, Mode.SERVER):
        raise ValueError(f"version 5 has no mode {packet.mode}")
    if len(packet.extensions) > MAX_EXTENSIONS:
        raise ValueError(f"{len(packet.extensions)} extension fields")
    try:
        data = _HEADER.pack(
            packet.leap.value << 6 | VERSION << 3 | packet.mode,
            packet.stratum,
            packet.poll,
            packet.precision,
            packet.root_delay,
            packet.root_dispersion,
            packet.timescale,
            packet.era,
            packet.flags,
            packet.server_cookie,
            packet.client_cookie,
            packet.receive,
            packet.transmit,
        )
        data += b"".join(encode_field(field.kind, field.body, version=VERSION) for field in packet.extensions)
    except struct.error as error:
        raise ValueError(f"a field does not fit: {error}") from None
    if len(data) > MAX_PACKET:
        raise ValueError(f"{len(data)} octets are too long for an NTP packet")
    return data


def time32_to_duration(time32: int) -> Duration:
    """A time32 (4.28 s) as a duration, rounded down by under 2^-16 ns."""
    return Duration(time32 * UNITS_PER_S >> _FRACTION)


def time32_from_duration(span: Duration) -> int:
    """A duration as a time32, rounded up so that a bound stays one; 0 below 0, ``UNKNOWN_TIME32`` from 16 s on."""
    return min(max(-((-span.scaled_ns << _FRACTION) // UNITS_PER_S), 0), UNKNOWN_TIME32)


def timestamp_from_ns(nanoseconds: int) -> tuple[int, int]:
    """Era and timestamp64 of nanoseconds since 1970-01-01 of a timescale, rounded down.

    The one timestamp of an era that would mean «unknown» becomes its neighbour, 0.23 ns later.
    """
    whole = (nanoseconds << 32) // NS_PER_S + (NTP_TO_UNIX_S << 32)
    return whole >> 64 & 0xFF, whole & _MASK64 or 1


def timestamp_to_units(timestamp: int, era: int) -> int:
    """Units of 2^-16 ns since 1970-01-01 of the timescale, of a timestamp64 and its era; to the nearest."""
    exact = (era << 64 | timestamp) - (NTP_TO_UNIX_S << 32)
    return (exact * UNITS_PER_S + (1 << 31)) >> 32
