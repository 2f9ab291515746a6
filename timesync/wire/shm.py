"""The shared memory segment of the NTP reference implementation's driver 28: a native C structure.

``struct shmTime``: what a reference clock said and when, by CLOCK_REALTIME, that was received. ``count`` is odd-proof:
a writer raises it before and after, a reader compares it. It has a ``time_t`` in it, so that programs of a 32-bit
machine meet in it only if they agree on that: ours goes with the machine's other programs (``timesync.wire.time_t``).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from timesync.base.measure import Leap
from timesync.wire.error import WireError
from timesync.wire.time_t import TIME_ALIGN, TIME_SIZE, format_of


def layout_of(time_size: int, time_align: int) -> struct.Struct:
    """The structure as the C compiler lays it out.

    int mode, count; time_t clock s; int clock µs; time_t receive s; int receive µs; int leap, precision, nsamples;
    int valid; unsigned clock ns, receive ns; int dummy[8]; and what the compiler adds to align the next one.

    Args:
        time_size: Octets of a ``time_t``.
        time_align: At which multiple of octets one begins.
    """
    head = _head(time_size, time_align)
    size = struct.calcsize(f"{head}5i2I8i")
    return struct.Struct(f"{head}5i2I8i{-size % time_align}x")


def _head(time_size: int, time_align: int) -> str:
    """Up to and with the second ``time_t``, which stands behind an int."""
    time = format_of(time_size)
    return f"=2i{time}i{-(8 + time_size + 4) % time_align}x{time}"


LAYOUT = layout_of(TIME_SIZE, TIME_ALIGN)
"""That of this machine's programs."""

SIZE = LAYOUT.size
KEY = 0x4E54_5030
"""``NTP0``; the unit is added."""

MODE_COUNTED = 1
VALID_OFFSET = struct.calcsize(f"{_head(TIME_SIZE, TIME_ALIGN)}4i")
"""Where ``valid`` is."""
COUNT_OFFSET = 4
"""Where ``count`` is."""

_NS_PER_S = 1_000_000_000
_NS_PER_US = 1_000
_LEAST_PRECISION = -32
_LEAPS = {0: Leap.NONE, 1: Leap.INSERT, 2: Leap.DELETE, 3: Leap.UNKNOWN}


@dataclass(frozen=True, slots=True)
class ShmSample:
    """One sample.

    Attributes:
        clock_ns: What the reference said, ns since 1970, UTC.
        kernel_ns: What CLOCK_REALTIME read then, ns since 1970, UTC.
        leap: The reference's announcement; UNKNOWN: it is not synchronised.
        precision: Log2 of its precision in seconds.
        count: The writer's counter.
        valid: A sample that no reader has taken.
    """

    clock_ns: int
    kernel_ns: int
    leap: Leap
    precision: int
    count: int
    valid: bool = True


def decode(data: bytes) -> ShmSample:
    """Read a segment. Raises WireError."""
    if len(data) < SIZE:
        raise WireError(f"length: {len(data)} octets instead of {SIZE}")
    mode, count, clock_s, clock_us, receive_s, receive_us, leap, precision, _, valid, clock_ns, receive_ns = (
        LAYOUT.unpack_from(data)[:12]
    )
    if mode not in (0, MODE_COUNTED):
        raise WireError(f"mode: {mode}")
    if leap not in _LEAPS:
        raise WireError(f"leap: {leap}")
    return ShmSample(
        clock_ns=_time(clock_s, clock_us, clock_ns),
        kernel_ns=_time(receive_s, receive_us, receive_ns),
        leap=_LEAPS[leap],
        precision=max(min(precision, 0), _LEAST_PRECISION),
        count=count,
        valid=bool(valid),
    )


def encode(sample: ShmSample) -> bytes:
    """Write a segment."""
    clock_s, clock_ns = divmod(sample.clock_ns, _NS_PER_S)
    receive_s, receive_ns = divmod(sample.kernel_ns, _NS_PER_S)
    return LAYOUT.pack(
        MODE_COUNTED,
        sample.count,
        clock_s,
        clock_ns // _NS_PER_US,
        receive_s,
        receive_ns // _NS_PER_US,
        sample.leap.value,
        sample.precision,
        1,
        int(sample.valid),
        clock_ns,
        receive_ns,
        *[0] * 8,
    )


def _time(seconds: int, microseconds: int, nanoseconds: int) -> int:
    """Old writers fill in microseconds only: nanoseconds count where they agree with them."""
    if not 0 <= microseconds < _NS_PER_S // _NS_PER_US or seconds < 0:
        raise WireError(f"time: {seconds} s and {microseconds} µs")
    if nanoseconds // _NS_PER_US == microseconds:
        return seconds * _NS_PER_S + nanoseconds
    return seconds * _NS_PER_S + microseconds * _NS_PER_US
