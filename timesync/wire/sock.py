"""The samples of chrony's SOCK reference clock driver: one native C structure for each datagram.

``struct sock_sample`` of chrony's refclock_sock.c: the time of the measurement by the system clock, and how far the
reference was ahead of it.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from timesync.base.measure import Leap
from timesync.wire.error import WireError

_SAMPLE = struct.Struct("@ll d ii ii")
"""struct timeval tv; double offset; int pulse; int leap; int _pad; int magic."""

SIZE = _SAMPLE.size
_MAGIC = 0x534F_434B
_US_PER_S = 1_000_000
_LARGEST_S = 1e10
_LEAPS = {0: Leap.NONE, 1: Leap.INSERT, 2: Leap.DELETE, 3: Leap.UNKNOWN}


@dataclass(frozen=True, slots=True)
class SockSample:
    """One sample.

    Attributes:
        kernel_us: CLOCK_REALTIME at the measurement, µs since 1970, UTC.
        offset_s: Reference minus that clock; positive when the clock is behind. Of a pulse the reverse, as chronyd
            takes it: by how much the clock had passed its second.
        pulse: The reference knows only where seconds begin, and the whole seconds of ``offset_s`` mean nothing.
        leap: The reference's announcement; UNKNOWN: it is not synchronised.
    """

    kernel_us: int
    offset_s: float
    pulse: bool = False
    leap: Leap = Leap.NONE


def decode(data: bytes) -> SockSample:
    """Read a datagram. Raises WireError."""
    if len(data) != SIZE:
        raise WireError(f"length: {len(data)} octets instead of {SIZE}")
    seconds, microseconds, offset_s, pulse, leap, _, magic = _SAMPLE.unpack(data)
    if magic != _MAGIC:
        raise WireError(f"magic: 0x{magic & 0xFFFF_FFFF:08x}")
    if not 0 <= microseconds < _US_PER_S:
        raise WireError(f"time: {microseconds} µs in a second")
    if not math.isfinite(offset_s) or abs(offset_s) > _LARGEST_S:
        raise WireError(f"offset: {offset_s}")
    if leap not in _LEAPS:
        raise WireError(f"leap: {leap}")
    return SockSample(seconds * _US_PER_S + microseconds, offset_s, bool(pulse), _LEAPS[leap])


def encode(sample: SockSample) -> bytes:
    """Write a datagram."""
    seconds, microseconds = divmod(sample.kernel_us, _US_PER_S)
    return _SAMPLE.pack(seconds, microseconds, sample.offset_s, int(sample.pulse), sample.leap.value, 0, _MAGIC)
