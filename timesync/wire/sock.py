"""The samples of chrony's SOCK reference clock driver: one native C structure for each datagram.

``struct sock_sample`` of chrony's refclock_sock.c: the time of the measurement by the system clock, and how far the
reference was ahead of it. It has a ``struct timeval`` in it, of 32 or of 64 bits. Either is read, whatever this
machine's programs mostly have: the length tells which. What is written has the size of theirs
(``timesync.wire.time_t``).
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from timesync.base.measure import Leap
from timesync.wire.error import WireError
from timesync.wire.time_t import TIME_SIZE, format_of

_LAYOUTS = {layout.size: layout for layout in (struct.Struct(f"=2{format_of(time_size)}d4i") for time_size in (4, 8))}
"""struct timeval tv; double offset; int pulse; int leap; int _pad; int magic. It has no gaps, however doubles and
``time_t`` are aligned."""

SIZE = 2 * TIME_SIZE + struct.calcsize("=d4i")
"""Of what is written."""
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
    layout = _LAYOUTS.get(len(data))
    if layout is None:
        raise WireError(f"length: {len(data)} octets instead of {' or '.join(map(str, _LAYOUTS))}")
    seconds, microseconds, offset_s, pulse, leap, _, magic = layout.unpack(data)
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
    return _LAYOUTS[SIZE].pack(seconds, microseconds, sample.offset_s, int(sample.pulse), sample.leap.value, 0, _MAGIC)
