"""Samples without the time spent in switches and routers (draft-ietf-ntp-ntpv5-07, "Measurement Modes")."""

from __future__ import annotations

from typing import Final

from timesync.base.time import Duration
from timesync.wire.ntp5_ext import Correction

CLOCK_ERROR: Final = 10_000
"""One part in so many is the greatest error of the clocks in switches: 100 ppm, the draft's figure."""


def corrected(
    offset: Duration, round_trip: Duration, correction: Correction, frame: Duration
) -> tuple[Duration, Duration] | None:
    """Offset and round trip without the time in switches and routers; None when those may not be believed.

    The draft's formula: as its corrections leave out the time on the wire that a store-and-forward hop takes for a
    frame, so much is given back; and 100 ppm for the error of their clocks. The uncorrected delay is still what counts
    for the root delay.

    Args:
        offset: Our clock minus the server's, as measured.
        round_trip: As measured.
        correction: Of the answer.
        frame: How long our link takes for the frame of an answer, and of a request.
    """
    if not correction.usable:
        return None
    there, back = correction.durations()
    spent = there + back - frame * 2
    delay = round_trip - Duration(spent.scaled_ns - spent.scaled_ns // CLOCK_ERROR)
    if delay.scaled_ns < 0:
        return None
    # The draft has the server's clock minus ours, hence the other sign.
    return offset - (back - there) // 2, delay
