"""What a grandmaster may say of its time: class, accuracy, traceability and leap flags, from what the core knows.

The stages of holdover are IEEE 1588-2019, 7.6.2.5 (table 4): locked to a primary reference 6, in holdover within
specification 7, after that 52 or 187 as the profile says, and 248 for a clock that was never right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from timesync.base.measure import Leap
from timesync.ptp.settings import LocalQuality
from timesync.servo.view import ServoState
from timesync.wire.ptp_message import ClockQuality

_ACCURACIES: tuple[tuple[float, int], ...] = (
    (1e-12, 0x17), (2.5e-12, 0x18), (10e-12, 0x19), (25e-12, 0x1A), (100e-12, 0x1B), (250e-12, 0x1C), (1e-9, 0x1D),
    (2.5e-9, 0x1E), (10e-9, 0x1F), (25e-9, 0x20), (100e-9, 0x21), (250e-9, 0x22), (1e-6, 0x23), (2.5e-6, 0x24),
    (10e-6, 0x25), (25e-6, 0x26), (100e-6, 0x27), (250e-6, 0x28), (1e-3, 0x29), (2.5e-3, 0x2A), (10e-3, 0x2B),
    (25e-3, 0x2C), (100e-3, 0x2D), (250e-3, 0x2E), (1.0, 0x2F), (10.0, 0x30),
)  # fmt: skip
"""``clockAccuracy`` (7.6.2.6, table 5): the time is accurate to within so many seconds."""

_OVER_10_S = 0x31
_UNKNOWN_ACCURACY = 0xFE
_WORST_VARIANCE = 0xFFFF

_GNSS, _PTP, _NTP, _OTHER, _OSCILLATOR = 0x20, 0x40, 0x50, 0x90, 0xA0
"""``timeSource`` (7.6.2.8, table 6)."""

_SOURCES = {b"PPS\0": _GNSS, b"GPS\0": _GNSS, b"GNSS": _GNSS, b"PTP\0": _PTP, b"PHC\0": _OTHER, b"SHM\0": _OTHER,
            b"SOCK": _OTHER}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stages:
    """The clock classes that a profile gives to the stages of its holdover.

    Attributes:
        locked: While following a primary reference.
        holdover: Without it, within specification.
        degraded: After that.
        never: Before the first time, and for a clock that follows nothing primary.
    """

    locked: int = 6
    holdover: int = 7
    degraded: int = 187
    never: int = 248


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the core knows of the clock that is given out.

    Attributes:
        state: Of the clock.
        primary: Its time comes, or came last, from a reference of stratum 0.
        was_locked: It was right at some time.
        reference_id: Of that reference; None before there was one.
        bound_s: The claimed bound on its error; None while unknown.
        deviation_s: One standard deviation of its offset; None while unknown.
        tai_utc: TAI - UTC in seconds.
        tai_utc_known: The leap second table vouches for it.
        leap: The leap second to be announced within the next twelve hours.
    """

    state: ServoState
    primary: bool
    was_locked: bool
    reference_id: bytes | None
    bound_s: float | None
    deviation_s: float | None
    tai_utc: int
    tai_utc_known: bool
    leap: Leap


def local_quality(known: Known, stages: Stages) -> LocalQuality:
    """The data sets of a grandmaster that follows this clock."""
    right = known.state in (ServoState.LOCKED, ServoState.HOLDOVER)
    traceable = right and known.primary
    return LocalQuality(
        quality=ClockQuality(
            clock_class(known, stages), accuracy(known.bound_s) if right else _UNKNOWN_ACCURACY, variance(known)
        ),
        utc_offset=known.tai_utc,
        utc_offset_valid=right and known.tai_utc_known,
        leap61=known.leap is Leap.INSERT,
        leap59=known.leap is Leap.DELETE,
        # Our clocks hold TAI, however wrong: what a receiver must do to get UTC does not depend on that.
        ptp_timescale=True,
        time_traceable=traceable,
        frequency_traceable=traceable,
        time_source=time_source(known.reference_id) if right else _OSCILLATOR,
        synchronized=right,
    )


def clock_class(known: Known, stages: Stages) -> int:
    """``clockClass`` (7.6.2.5)."""
    if not known.primary or not known.was_locked:
        return stages.never
    if known.state is ServoState.LOCKED:
        return stages.locked
    return stages.holdover if known.state is ServoState.HOLDOVER else stages.degraded


def accuracy(bound_s: float | None) -> int:
    """``clockAccuracy``: the least of the table that the bound lies within."""
    if bound_s is None or math.isnan(bound_s):
        return _UNKNOWN_ACCURACY
    return next((code for within, code in _ACCURACIES if bound_s <= within), _OVER_10_S)


def variance(known: Known) -> int:
    """``offsetScaledLogVariance`` (7.6.3.3): log2 of the variance in s^2, times 2^8, from 0x8000 on."""
    if known.deviation_s is None or known.deviation_s <= 0:
        return _WORST_VARIANCE
    return min(max(round(2 * math.log2(known.deviation_s) * 256) + 0x8000, 0), _WORST_VARIANCE)


def time_source(reference_id: bytes | None) -> int:
    """``timeSource``; an address is an NTP server's."""
    if reference_id is None:
        return _OSCILLATOR
    return _SOURCES.get(reference_id, _NTP)
