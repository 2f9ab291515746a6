"""What the server tells of its clock, and the template of a reply that is made from it."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from timesync.base.measure import Leap
from timesync.base.serving import SYSTEM_MAP, CardMap, ServingMap
from timesync.base.time import NS_PER_S, Duration, Instant, Mono
from timesync.ntp.v5.serving import Serving
from timesync.wire.ntp import NTP_TO_UNIX_S, short_from_duration

MASK64: Final = (1 << 64) - 1
UNSYNCHRONIZED_STRATUM: Final = 16
CARDS_VALID_NS: Final = 3 * NS_PER_S
"""So long after their publication the maps of network cards are used: their clocks are steered on their own."""

_EARLIEST_NS: Final = -100_000
_LATEST_NS: Final = 10_000_000
"""How long before the kernel a card may have stamped a packet. Beyond that the stamp is of before a step of a clock, or
of another clock; a little below zero is the error with which the two clocks are compared."""

_UNITS_PER_NS: Final = (1 << 64) / NS_PER_S
_ONE_SECOND_SHORT: Final = 1 << 16
_TAIL = struct.Struct("!bII4sQ")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeState:
    """What is served, as the core last knew it.

    Attributes:
        synchronized: Whether the time may be believed; False is sent as leap 3 and stratum 0.
        leap: Announced leap second.
        stratum: 1 to 15.
        reference_id: Four octets (RFC 5905, figure 12).
        root_delay: Round trip to the root.
        root_dispersion: Bound on the error apart from the delay, at ``at``.
        dispersion_rate: How fast that grows, in seconds per second.
        at: When this was true; on Linux CLOCK_MONOTONIC, the same in every process, so that a worker can grow
            the dispersion by itself and a step of the clock changes nothing.
        valid_until: From then on, the same scale, the server says that it is not synchronized: whoever
            publishes has died or hangs.
        reference_time: When the clock was last updated: a 64-bit NTP timestamp of the served UTC; 0 for
            never.
        precision: Log2 of the clock's precision in seconds.
        serving_map: From kernel timestamps to the served clock's UTC.
        epoch: How many times the served clock had been stepped; a new one makes older timestamps worthless.
        cards: For each interface whose network card stamps packets, from its stamps to kernel timestamps.
        ntpv5: What clients of NTPv5 are told besides; None: no more than that.
    """

    synchronized: bool
    leap: Leap
    stratum: int
    reference_id: bytes
    root_delay: Duration
    root_dispersion: Duration
    dispersion_rate: float
    at: Instant[Mono]
    valid_until: Instant[Mono]
    reference_time: int
    precision: int
    serving_map: ServingMap
    epoch: int
    cards: tuple[CardMap, ...] = ()
    ntpv5: Serving | None = None


UNSYNCHRONIZED: Final = ServeState(
    synchronized=False,
    leap=Leap.UNKNOWN,
    stratum=UNSYNCHRONIZED_STRATUM,
    reference_id=b"\0\0\0\0",
    root_delay=Duration(0),
    root_dispersion=Duration(0),
    dispersion_rate=0.0,
    at=Instant(0),
    valid_until=Instant(0),
    reference_time=0,
    precision=-20,
    serving_map=SYSTEM_MAP,
    epoch=0,
)
"""What is served before the first state is published."""


@dataclass(frozen=True, slots=True)
class Line:
    """A ``CardMap`` in whole numbers: ``kernel_ns + ((card_ns - base_ns) * factor >> 32)``.

    Attributes:
        base_ns: A reading of the card's clock.
        kernel_ns: Kernel time then.
        factor: Kernel time in one second of the card's clock, times 2^32.
    """

    base_ns: int
    kernel_ns: int
    factor: int

    def at(self, card_ns: int) -> int:
        """Kernel time of a card's stamp."""
        return self.kernel_ns + ((card_ns - self.base_ns) * self.factor >> 32)

    def received(self, kernel_ns: int, card_ns: int) -> int | None:
        """Kernel time of arrival by the card's stamp; None when that cannot be of the packet that the kernel stamped.

        A stamp of before a step of either clock is told by that: the kernel sees a packet soon after the card.
        """
        at = self.at(card_ns)
        return at if _EARLIEST_NS <= kernel_ns - at <= _LATEST_NS else None

    def sent(self, kernel_ns: int, card_ns: int) -> int | None:
        """Kernel time of departure by the card's stamp, for a packet that was handed to the kernel at ``kernel_ns``."""
        at = self.at(card_ns)
        return at if _EARLIEST_NS <= at - kernel_ns <= _LATEST_NS else None


NO_LINES: Final[Mapping[int, Line]] = {}


@dataclass(frozen=True, slots=True)
class Template:
    """The part of a reply that is the same for every client, for at most a second of kernel time.

    ``timestamp = base + ((kernel_ns - base_ns) * factor >> 32)`` holds for system and virtual clocks alike
    and costs two operations on the per-packet path; over the second of its life its rounding stays below 1
    ns.

    Attributes:
        lead: Leap bits of the first octet.
        stratum: As on the wire.
        tail: Octets 3 to 23 of the header: precision, root delay and dispersion, reference id, reference
            time.
        base_ns: Kernel time (CLOCK_REALTIME) from which the template is to be used.
        until_ns: Kernel time at which it must be made anew.
        base: NTP timestamp of the served clock at ``base_ns``.
        factor: NTP units of 2^-32 s, times 2^32, in one kernel nanosecond.
        lines: From the stamps of network cards to kernel time, by interface.
    """

    lead: int
    stratum: int
    tail: bytes
    base_ns: int
    until_ns: int
    base: int
    factor: int
    lines: Mapping[int, Line] = field(default_factory=lambda: NO_LINES)

    def timestamp(self, kernel_ns: int) -> int:
        """The served clock's 64-bit NTP timestamp at a kernel time near ``base_ns``."""
        return (self.base + ((kernel_ns - self.base_ns) * self.factor >> 32)) & MASK64

    def fits(self, kernel_ns: int) -> bool:
        """Whether the template may be used now; not so after the clock was set either way."""
        return self.base_ns <= kernel_ns < self.until_ns


def render(state: ServeState, kernel_ns: int, mono_ns: int) -> Template:
    """The template from now on; ``kernel_ns`` and ``mono_ns`` are read at the same moment.

    The dispersion is that of the template's end, rounded up, so that the bound holds for its whole life.
    """
    utc_ns = state.serving_map.utc_ns(kernel_ns)
    base = ((utc_ns << 32) // NS_PER_S + (NTP_TO_UNIX_S << 32)) & MASK64
    factor = round(_UNITS_PER_NS * state.serving_map.rate)
    lines = _lines(state.cards) if 0 <= mono_ns - state.at.ns() < CARDS_VALID_NS else NO_LINES
    left_ns = state.valid_until.ns() - mono_ns
    if not (state.synchronized and 1 <= state.stratum < UNSYNCHRONIZED_STRATUM and left_ns > 0):
        # As chronyd does: a whole second of delay and dispersion, so that who ignores the leap bits keeps
        # away.
        tail = _TAIL.pack(state.precision, _ONE_SECOND_SHORT, _ONE_SECOND_SHORT, b"\0\0\0\0", 0)
        return Template(Leap.UNKNOWN.value << 6, 0, tail, kernel_ns, kernel_ns + NS_PER_S, base, factor, lines)
    life_ns = min(left_ns, NS_PER_S)
    age_s = max(mono_ns + life_ns - state.at.ns(), 0) / NS_PER_S
    dispersion = state.root_dispersion + Duration.from_s(age_s * state.dispersion_rate)
    tail = _TAIL.pack(
        state.precision,
        short_from_duration(state.root_delay),
        short_from_duration(dispersion),
        state.reference_id,
        state.reference_time,
    )
    lead = state.leap.value << 6
    return Template(lead, state.stratum, tail, kernel_ns, kernel_ns + life_ns, base, factor, lines)


def _lines(cards: tuple[CardMap, ...]) -> Mapping[int, Line]:
    return {
        card.interface: Line(card.base_ns, card.base_ns + card.offset_ns, round(card.rate * (1 << 32)))
        for card in cards
    }
