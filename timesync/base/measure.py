"""What machines measure, and what is known of a source: all that protocols and servos share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from timesync.base.ids import ClockId, LinkId, SourceId
from timesync.base.time import Duration, Instant, Tai


class StampSource(Enum):
    """Where a timestamp was taken; the nearer to the wire the better."""

    HARDWARE = "hardware"
    KERNEL = "kernel"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Stamp:
    """One reading of one clock.

    Attributes:
        clock: The clock that was read.
        epoch: How many times that clock had been stepped when it was read; a stamp of an older
            epoch cannot be compared with one of a newer and is dropped, not corrected.
        at: The reading; TAI as that clock believes it.
        source: Who took it.
    """

    clock: ClockId
    epoch: int
    at: Instant[Tai]
    source: StampSource = StampSource.KERNEL


class Leap(Enum):
    """Announced leap second at the end of the current UTC day or month (RFC 5905, figure 9)."""

    NONE = 0
    INSERT = 1
    DELETE = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What a remote says of its own time.

    Attributes:
        stratum: 1 for a primary server, one more for each step away from it; 0 for a local reference clock.
        leap: Its announcement; UNKNOWN means that it is not synchronised.
        reference_id: Four octets as on the wire.
        root_delay: Round trip from the remote to its root.
        root_dispersion: Its own bound on its error, apart from the delay, at the time of the measurement.
        precision_s: Its reading noise, in seconds.
        authenticated: The measurement was protected by a key.
    """

    stratum: int
    leap: Leap
    reference_id: bytes
    root_delay: Duration
    root_dispersion: Duration
    precision_s: float
    authenticated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """How far one clock stood from another at one moment.

    Attributes:
        link: The link it came over.
        local: The clock that took the reading, and the one a servo may steer.
        remote: The clock it was compared with.
        at: When, read from ``local``; TAI.
        epoch: How many times ``local`` had been stepped at ``at``.
        offset: ``local`` minus ``remote``; positive when ``local`` is ahead.
        delay: One-way delay already taken out of ``offset`` (half the round trip of an NTP exchange);
            None where there is none (PPS).
        noise_s: One standard deviation of ``offset`` from stamping alone, in seconds; what the network adds is
            for the servo to learn.
        quality: What the remote says of itself; None for a clock of this machine.
        averaged: ``delay`` is that of the link, measured apart and averaged (peer delay): it says nothing of how this
            sample came.
    """

    link: LinkId
    local: ClockId
    remote: ClockId
    at: Instant[Tai]
    epoch: int
    offset: Duration
    delay: Duration | None
    noise_s: float
    quality: Quality | None = None
    averaged: bool = False


@dataclass(frozen=True, slots=True)
class Coarse:
    """Roughly where a clock stands.

    Attributes:
        offset_s: The clock minus truth, in seconds.
        bound_s: The truth lies within so much of that.
        by: Who says so, for people.
    """

    offset_s: float
    bound_s: float
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatus:
    """What a protocol machine knows of its remote, apart from the measurements.

    Attributes:
        source: Which source.
        reach: The outcome of the last eight requests, newest in bit 0 (RFC 5905, 9.2 "reach").
        poll_s: Present interval between requests, in seconds.
        sent: Requests sent.
        received: Valid answers.
        dropped: Answers refused.
        stratum: As last said; 16 when unknown.
        leap: As last said.
        reference_id: As last said.
        authenticated: A valid answer has come, and answers are protected by a key.
        interleaved: Answers are in interleaved mode (RFC 9769).
        timestamping: Where our stamps are taken, the worse of transmit and receive; None before the first.
        excluded: Why this source may not be used now, in words (a kiss code that was obeyed, a loop); else None.
        stepped_back: Requests are kept further apart than wanted because the server asked for it.
        keyed: Requests carry a key's code, and an answer without one is refused.
        provisional: It is believed only for want of better: who it is cannot be verified before the time is known.
        version: NTP version of the last answer; None of what is no NTP server, and before the first.
        draft: The draft of that version, where it is no standard yet.
        trouble: What the network said of one of the last eight requests, none of them answered since (connection
            refused, no route), in words; None: nothing.
    """

    source: SourceId
    reach: int
    poll_s: float
    sent: int
    received: int
    dropped: int
    stratum: int
    leap: Leap
    reference_id: bytes
    authenticated: bool
    interleaved: bool
    timestamping: StampSource | None
    excluded: str | None
    stepped_back: bool
    keyed: bool = False
    provisional: bool = False
    version: int | None = None
    draft: str | None = None
    trouble: str | None = None
