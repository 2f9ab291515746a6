"""One request and its answer: what is compared before it is believed, and what four timestamps give.

The tests are those of RFC 5905, 9.2 (figure 22, tests 1 to 7) and chrony's A and D.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from timesync.base.measure import Leap, Stamp, StampSource
from timesync.base.time import UNITS_PER_S, ZERO, Duration, Instant, Mono, Tai, Utc
from timesync.ntp.auth import SymmetricKey
from timesync.wire.error import WireError
from timesync.wire.ntp import HEADER_SIZE, Mode, NtpPacket, decode, short_to_duration, timestamp_to_utc

MAX_STRATUM: Final = 16
"""RFC 5905, figure 6 (MAXSTRAT): from here on a server is not synchronised."""

MAX_RESPONSE: Final = Duration.from_s(4)
"""A server that keeps a request longer than this is not serving time; chrony's limit."""

USER_STAMP_NOISE_S: Final = 50e-6
"""Added where a stamp was taken by a process: what scheduling costs on an idle machine."""

FORESIGHT: Final = Duration.from_ns(250_000)
"""A server in software writes down when its answer leaves before it leaves, and some add a guess. Where the network
takes hardly any time, that can be later than the answer arrives; a delay so little below zero counts as zero."""

BUILD_DATE: Final[Instant[Utc]] = Instant.from_ns(1_767_225_600 * 1_000_000_000)
"""2026-01-01: no true time is before this, so a board that boots in 1970 still finds the right era."""

_WORSE = (StampSource.HARDWARE, StampSource.KERNEL, StampSource.USER)


class DropReason(StrEnum):
    """Why an answer, or a sample from it, was refused; the names that ``Dropped`` carries."""

    SHORT = "short"
    """Under 48 octets."""
    VERSION = "version"
    """Newer than the request, or older than 3 and not the request's."""
    MODE = "mode"
    """Not mode 4."""
    FORMAT = "format"
    """The octets after the header make no sense."""
    LATE = "late"
    """No request is waiting for it."""
    ORIGIN = "origin"
    """Not an answer to our request (test 2, bogus)."""
    DUPLICATE = "duplicate"
    """A second answer, or the timestamps of the answer before (test 1)."""
    MAC = "mac"
    """The MAC is missing, wrong, or of another key (test 5)."""
    NTS_FORMAT = "nts-format"
    """Its NTS fields make no sense."""
    NTS_LATE = "nts-late"
    """The request has its NTS answer already."""
    NTS_UNIQUE_ID = "nts-unique-id"
    """Its unique identifier is not the request's."""
    NTS_MISSING = "nts-missing"
    """It has no NTS authenticator."""
    NTS_TAG = "nts-tag"
    """It does not open under the key: it was changed, or is somebody else's."""
    NTS_NAK = "nts-nak"
    """The server says that it cannot open our cookie; it cannot prove so itself."""
    CRYPTO_NAK = "crypto-nak"
    """The server could not authenticate our request; it cannot prove so itself."""
    ZERO = "zero"
    """A timestamp is missing (test 3)."""
    KISS = "kiss"
    """A kiss-o'-death, obeyed or not."""
    UNSYNCHRONISED = "unsynchronised"
    """The server says so by its leap indicator (test 6)."""
    STRATUM = "stratum"
    """Stratum 0 without a kiss code, or 16 and more (test 6)."""
    DISTANCE = "distance"
    """The server is too far from its root (test 7)."""
    LOOP = "loop"
    """The server takes its time from us (test D)."""
    PRECISION = "precision"
    """The server's clock is too coarse to be of use (test A)."""
    RESPONSE = "response"
    """The server took too long, or answered before it was asked (test A)."""
    DELAY = "delay"
    """The round trip is too long, or negative beyond what precision and ``FORESIGHT`` explain (test A)."""
    EPOCH = "epoch"
    """Our clock was stepped between the stamps."""
    STAMP = "stamp"
    """One of our own stamps is missing or is of another clock."""
    LEAP_SECOND = "leap-second"
    """A timestamp lies where UTC is ambiguous."""
    DRAFT = "draft"
    """An NTPv5 answer that does not name the draft of our request."""
    TIMESCALE = "timescale"
    """An NTPv5 answer in a timescale that we did not ask for and cannot convert."""


class Timescales(Protocol):
    """How UTC and TAI hang together; ``timesync.base.utc.LeapTable``."""

    def tai(self, utc: Instant[Utc], /) -> Instant[Tai]:
        """The TAI of a UTC instant."""
        ...

    def utc(self, tai: Instant[Tai], /) -> Instant[Utc]:
        """The UTC of a TAI instant."""
        ...

    def ambiguous(self, utc: Instant[Utc], /) -> bool:
        """Whether this UTC lies where a leap second repeats or skips a second."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it goes on the wire, and what its answer is known by.

    Attributes:
        data: Its octets.
        version: NTP version.
        transmit: Its transmit timestamp, 64 random bits, or in version 5 its client cookie; the origin of a basic
            answer.
        receive: Its receive timestamp, 64 random bits in an interleaved request, or in version 5 its server cookie; the
            origin of an interleaved answer. 0 when basic mode was asked for.
        detail: What version 5 needs to know of it besides.
    """

    data: bytes
    version: int
    transmit: int
    receive: int
    detail: object = None

    def matches(self, origin: int) -> bool:
        """Whether an answer with this origin timestamp is to this request, bit by bit."""
        return origin == self.transmit or self.is_interleaved(origin)

    def is_interleaved(self, origin: int) -> bool:
        """Whether this origin makes the answer interleaved; 0 never does (CVE-2015-8138)."""
        return self.receive != 0 and origin == self.receive


@dataclass(frozen=True, slots=True)
class Residence:
    """How long transparent clocks say that they have kept packets; zero where they say nothing.

    Attributes:
        there: The request, as the server has told.
        back: The answer.
    """

    there: Duration = ZERO
    back: Duration = ZERO


NO_RESIDENCE: Final = Residence()


@dataclass(frozen=True, slots=True)
class Answered:
    """What an answer of any version says.

    Attributes:
        packet: In the words of version 4.
        root_delay: As exactly as it is said.
        root_dispersion: Likewise.
        pivot: An instant near its timestamps, to settle their era by; None: our clock must do.
        least_poll: Shortest interval that the server allows, log2 s; None: it does not say.
        residence: How long the request was in transparent clocks; None: it does not say.
        detail: What version 5 says besides.
    """

    packet: NtpPacket
    root_delay: Duration
    root_dispersion: Duration
    pivot: Instant[Utc] | None = None
    least_poll: int | None = None
    detail: object = None
    residence: Duration | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that passed the tests, and when it came.

    Attributes:
        said: Its content.
        t4: Our receive stamp.
        interleaved: Its transmit timestamp is that of the answer before (RFC 9769, 2).
        residence: How long it was in transparent clocks, and its request.
    """

    said: Answered
    t4: Stamp
    interleaved: bool
    residence: Residence = NO_RESIDENCE

    @property
    def packet(self) -> NtpPacket:
        """Its content in the words of version 4."""
        return self.said.packet


@dataclass(slots=True)
class Exchange:
    """A request on its way.

    Attributes:
        token: The runtime's handle on its socket.
        request: What was sent.
        expires: When to stop waiting.
        t1: Our transmit stamp; None until it is known, or when it was lost.
        t1_settled: The runtime has said what ``t1`` is.
        answer: Held until ``t1`` is settled; the answer may come first.
        trouble: What the network said of the request, if anything.
    """

    token: int
    request: Request
    expires: Instant[Mono]
    t1: Stamp | None = None
    t1_settled: bool = False
    answer: Answer | None = None
    trouble: str | None = None


def parse_answer(data: bytes, version: int) -> NtpPacket | DropReason:
    """The packet in ``data`` if its form is that of an answer to a request of ``version``."""
    if len(data) < HEADER_SIZE:
        return DropReason.SHORT
    # Some servers answer a version 4 request in version 3; nothing answers in a newer one than was asked for.
    got = data[0] >> 3 & 7
    if got != version and not 3 <= got < version:
        return DropReason.VERSION
    if data[0] & 7 != Mode.SERVER:
        return DropReason.MODE
    try:
        return decode(data)
    except WireError:
        return DropReason.FORMAT


def authenticate(data: bytes, packet: NtpPacket, key: SymmetricKey | None) -> DropReason | None:
    """Test 5. Without a key of our own a MAC means nothing to us and is passed over."""
    if packet.mac is not None and not packet.mac.digest:
        return DropReason.CRYPTO_NAK
    if key is not None and (packet.mac is None or not key.accepts(data, packet.mac)):
        return DropReason.MAC
    return None


def check_server(packet: NtpPacket, own: frozenset[bytes], max_distance: Duration) -> DropReason | None:
    """Tests 6, 7 and D: what the server says of itself."""
    if packet.leap is Leap.UNKNOWN:
        return DropReason.UNSYNCHRONISED
    if not 1 <= packet.stratum < MAX_STRATUM:
        return DropReason.STRATUM
    if root_distance(packet) >= max_distance:
        return DropReason.DISTANCE
    # At stratum 1 the reference id is a name such as GPS, and may look like an address by chance.
    if packet.stratum > 1 and packet.reference_id in own:
        return DropReason.LOOP
    return None


def root_distance(packet: NtpPacket) -> Duration:
    """Half the root delay plus the root dispersion, as the server has them."""
    return short_to_duration(packet.root_delay) // 2 + short_to_duration(packet.root_dispersion)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a sample is measured against.

    Attributes:
        clock_precision: Of our own clock.
        max_delay: Longest round trip.
    """

    clock_precision: Duration
    max_delay: Duration


@dataclass(frozen=True, slots=True)
class Sample:
    """What an exchange says (RFC 5905, 8).

    Attributes:
        at: The middle between our two stamps; TAI of our clock.
        epoch: Of our clock.
        offset: Our clock minus the server's; positive when ours is ahead.
        round_trip: Time on the network, both ways; never negative.
        noise_s: One standard deviation of ``offset`` from both clocks' reading noise, and ``excess`` on top.
        excess: How far below zero the round trip came out, where it did; never negative.
        residence: Time in transparent clocks that was taken out of ``round_trip``.
    """

    at: Instant[Tai]
    epoch: int
    offset: Duration
    round_trip: Duration
    noise_s: float
    excess: Duration
    residence: Duration = ZERO


def precision_of(exponent: int) -> Duration:
    """2^exponent seconds; the smallest unit where it is finer than that."""
    units = UNITS_PER_S << exponent if exponent >= 0 else UNITS_PER_S >> -exponent
    return Duration(max(units, 1))


def worse(one: StampSource, other: StampSource) -> StampSource:
    """The one taken further from the wire."""
    return max(one, other, key=_WORSE.index)


def server_time(
    timestamp: int, local: Stamp, scales: Timescales, pivot: Instant[Utc] | None = None
) -> Instant[Tai] | DropReason:
    """A server's timestamp as TAI; the era is that nearest to ``pivot``.

    Without one it is that nearest to our clock, unless that is before the build.
    """
    near = max(scales.utc(local.at), BUILD_DATE) if pivot is None else pivot
    utc = timestamp_to_utc(timestamp, near)
    return DropReason.LEAP_SECOND if scales.ambiguous(utc) else scales.tai(utc)


def measure(
    t1: Stamp,
    t2: Instant[Tai],
    t3: Instant[Tai],
    t4: Stamp,
    exponent: int,
    limits: Limits,
    scales: Timescales,
) -> Sample | DropReason:
    """Offset and delay from four timestamps (RFC 5905, 8), or why not.

    A round trip slightly below zero is clamped, as the RFC has it, and what it lacks is added to the noise.

    Args:
        t1: Request sent, by our clock.
        t2: Request received, by the server's.
        t3: Answer sent, by the server's; before ``t2`` where stamps of two exchanges are paired (RFC 9769).
        t4: Answer received, by our clock.
        exponent: The server's precision, log2 s.
        limits: Ours.
        scales: The leap table.
    """
    if t1.epoch != t4.epoch:
        return DropReason.EPOCH
    if scales.ambiguous(scales.utc(t1.at)) or scales.ambiguous(scales.utc(t4.at)):
        return DropReason.LEAP_SECOND
    precision = limits.clock_precision + precision_of(exponent)
    if precision > limits.max_delay:
        return DropReason.PRECISION
    round_trip = (t4.at - t1.at) - (t3 - t2)
    if round_trip < -max(precision, FORESIGHT) or round_trip - precision > limits.max_delay:
        return DropReason.DELAY
    noise = math.hypot(limits.clock_precision.s(), precision_of(exponent).s())
    if StampSource.USER in (t1.source, t4.source):
        noise = math.hypot(noise, USER_STAMP_NOISE_S)
    excess = max(-round_trip, ZERO)
    return Sample(
        at=t1.at + (t4.at - t1.at) // 2,
        epoch=t4.epoch,
        offset=((t1.at - t2) + (t4.at - t3)) // 2,
        round_trip=max(round_trip, ZERO),
        noise_s=noise + excess.s(),
        excess=excess,
    )
