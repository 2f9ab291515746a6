"""Samples without the time that packets spent in transparent clocks: NTP over PTP (RFC 10030, 3).

A switch that is a one-step end-to-end transparent clock writes into each PTP event message how long it has kept it. So
the client has that of the answer by itself, and that of its request from the server. Queues then count neither as
delay nor, where they are longer in one direction, as offset.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from timesync.base.time import ZERO
from timesync.ntp.exchange import Residence, Sample

CLOCK_ERROR: Final = 10_000
"""One part in so many is the greatest error of the clocks in switches: 100 ppm, the RFC's figure."""


def without(sample: Sample, residence: Residence) -> Sample:
    """The sample without that time; as it was when it may not be believed, or is known in one direction only.

    Nothing vouches for what switches write. So what they take from the round trip, less the error of their clocks, may
    not be more than that, and counts on as delay to the root: the bound of the error stays as it was.
    """
    there, back = residence.there, residence.back
    if there <= ZERO or back <= ZERO:
        return sample
    whole = there + back
    taken = whole - whole // CLOCK_ERROR
    if taken > sample.round_trip:
        return sample
    return replace(
        sample, offset=sample.offset - (back - there) // 2, round_trip=sample.round_trip - taken, residence=taken
    )
