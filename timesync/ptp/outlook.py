"""What a timeTransmitter's Announce says of its time, as any other source would say it of its own."""

from __future__ import annotations

from timesync.base.measure import Leap, Quality
from timesync.base.time import ZERO, Duration
from timesync.ptp.datasets import DataSets, TimePropertiesDS
from timesync.wire.ptp_message import ClockQuality

PTP_REFERENCE = b"PTP\0"
"""Reference id of a clock that follows PTP; chrony's users know it from ``refid PTP``."""

_PRIMARY = frozenset({6, 7, 13, 14, 52, 58, 187, 193})
"""Classes that are, or were, locked to a primary reference (table 4)."""

_ACCURACY_S = {
    0x17: 1e-12, 0x18: 2.5e-12, 0x19: 10e-12, 0x1A: 25e-12, 0x1B: 100e-12, 0x1C: 250e-12, 0x1D: 1e-9, 0x1E: 2.5e-9,
    0x1F: 10e-9, 0x20: 25e-9, 0x21: 100e-9, 0x22: 250e-9, 0x23: 1e-6, 0x24: 2.5e-6, 0x25: 10e-6, 0x26: 25e-6,
    0x27: 100e-6, 0x28: 250e-6, 0x29: 1e-3, 0x2A: 2.5e-3, 0x2B: 10e-3, 0x2C: 25e-3, 0x2D: 100e-3, 0x2E: 250e-3,
    0x2F: 1.0, 0x30: 10.0,
}  # fmt: skip
_UNKNOWN_S = 1e-3
"""What a clock may be off that does not say: most laboratory grandmasters announce 0xFE and are far better."""

_LOCAL_STRATUM = 10
_MOST = 15


def quality(sets: DataSets, *, uncertain: bool, precision_s: float) -> Quality:
    """From the data sets of the parent.

    Args:
        sets: What was announced.
        uncertain: ``synchronizationUncertain`` is set: the time may not be believed now (table 37).
        precision_s: Noise of our own stamps.
    """
    said = Leap.UNKNOWN if uncertain else leap(sets.time_properties)
    return remote_quality(sets.parent.quality, sets.current.steps_removed, said, precision_s)


def remote_quality(grandmaster: ClockQuality, steps_removed: int, said: Leap, precision_s: float) -> Quality:
    """From what is known of a grandmaster.

    Args:
        grandmaster: ``grandmasterClockQuality``.
        steps_removed: ``stepsRemoved`` of this clock, which the last step to it counts in.
        said: The announced leap second; UNKNOWN: its time may not be believed now.
        precision_s: Noise of our own stamps.
    """
    base = 1 if grandmaster.clock_class in _PRIMARY else _LOCAL_STRATUM
    return Quality(
        stratum=min(base + max(steps_removed - 1, 0), _MOST),
        leap=said,
        reference_id=PTP_REFERENCE,
        root_delay=ZERO,
        root_dispersion=Duration.from_s(_ACCURACY_S.get(grandmaster.accuracy, _UNKNOWN_S)),
        precision_s=precision_s,
        authenticated=False,
    )


def leap(properties: TimePropertiesDS) -> Leap:
    """The announced leap second."""
    if properties.leap61:
        return Leap.INSERT
    return Leap.DELETE if properties.leap59 else Leap.NONE
