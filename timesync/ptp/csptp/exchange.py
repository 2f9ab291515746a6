"""One request and its answer, and what four timestamps and the corrections of both ways give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from timesync.base.measure import Stamp, StampSource
from timesync.base.time import ZERO, Duration, Instant, Mono, Tai, Utc
from timesync.base.utc import LeapTable
from timesync.ptp.csptp.message import Response
from timesync.wire.ptp_message import Flags, FollowUp

MAX_DELAY: Final = Duration.from_s(1)
"""A longer round trip is of no use to anybody who wants PTP."""

MAX_HELD: Final = Duration.from_s(1)
"""A server that keeps a request longer is not serving time."""

MAX_CORRECTION: Final = Duration.from_s(1)
"""What bridges and routers add is time that a message spent in them; 2^63 - 1 units say that it did not fit
(IEEE 1588-2019, 13.3.2.9)."""

_TOLERANCE = 10
"""Standard deviations of a stamp by which a round trip may come out below zero; it then counts as zero."""

_WORSE = (StampSource.HARDWARE, StampSource.KERNEL, StampSource.USER)


@dataclass(slots=True)
class Exchange:
    """A request on its way.

    Attributes:
        token: Names it to who sends it.
        sequence_id: Random, so that answers cannot be made by who does not see the request.
        expires: When to stop waiting.
        t1: When it left; None before that is known.
        response: The answer, and when it came.
        follow_up: What follows a two-step answer, or overtook it.
    """

    token: int
    sequence_id: int
    expires: Instant[Mono]
    t1: Stamp | None = None
    response: tuple[Response, Stamp] | None = None
    follow_up: FollowUp | None = None

    @property
    def complete(self) -> bool:
        """All that was waited for has come."""
        if self.t1 is None or self.response is None:
            return False
        return self.response[0].origin is not None or self.follow_up is not None


@dataclass(frozen=True, slots=True)
class Sample:
    """What an exchange says.

    Attributes:
        at: The middle between our two stamps; TAI of our clock.
        epoch: Of our clock.
        offset: Our clock minus the server's; positive when ours is ahead.
        delay: Of one way, as the mean of both; never negative.
        source: Where our stamps were taken, the worse of the two.
    """

    at: Instant[Tai]
    epoch: int
    offset: Duration
    delay: Duration
    source: StampSource


def measure(exchange: Exchange, leap_table: LeapTable, stamp_noise_s: float) -> Sample | str:
    """Offset and delay of a complete exchange, or the short name of why not.

    The way there took t2 - t1 less the request's correction, the way back t4 - t3 less those of response and Follow_Up
    (IEEE 1588-2019, 11.3). Times of a server whose timescale is not PTP's are taken as UTC, as those of a grandmaster
    are (docs/decisions/0011).
    """
    assert exchange.t1 is not None
    assert exchange.response is not None
    t1, (response, t4) = exchange.t1, exchange.response
    if t1.epoch != t4.epoch:
        return "epoch"
    back = response.header.correction
    t3 = response.origin
    if t3 is None:
        assert exchange.follow_up is not None
        t3 = exchange.follow_up.precise_origin
        back += exchange.follow_up.header.correction
    t2, there = response.content.ingress, response.content.correction
    if abs(there) > MAX_CORRECTION or abs(back) > MAX_CORRECTION:
        return "correction"
    if not ZERO <= t3 - t2 <= MAX_HELD:
        return "response"
    if Flags.PTP_TIMESCALE not in response.header.flags:
        received: Instant[Utc] = Instant(t2.scaled_ns)
        sent: Instant[Utc] = Instant(t3.scaled_ns)
        if leap_table.ambiguous(received) or leap_table.ambiguous(sent):
            return "leap-second"
        t2, t3 = leap_table.tai(received), leap_table.tai(sent)
    forward, backward = t2 - t1.at - there, t4.at - t3 - back
    round_trip = forward + backward
    if not -Duration.from_s(_TOLERANCE * stamp_noise_s) <= round_trip <= MAX_DELAY:
        return "delay"
    return Sample(
        at=t1.at + (t4.at - t1.at) // 2,
        epoch=t4.epoch,
        offset=(backward - forward) // 2,
        delay=max(round_trip, ZERO) // 2,
        source=max(t1.source, t4.source, key=_WORSE.index),
    )
