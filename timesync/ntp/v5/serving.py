"""What an NTPv5 server tells beside what all versions do: timescales, reference ids, shortest poll."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from timesync.base.measure import Leap
from timesync.base.serving import ServingMap
from timesync.base.time import NS_PER_S, Duration, Instant, Utc
from timesync.base.utc import LeapTable
from timesync.ntp.v5.bloom import BloomFilter
from timesync.wire.ntp5 import Timescale

_NO_SHIFTS: Final[Mapping[Timescale, int | None]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Scales:
    """The timescales that are served.

    Attributes:
        served: That of the served clock: UTC or SMEARED.
        shifts_ns: For each of the others, how far it is ahead of ``served``; None while that is not known well enough.
        rate: How fast they all grow, seconds per second of the served clock: not 0 while a smear is under way.
        at_ns: The reading of the served clock at which they are as given.
    """

    served: Timescale = Timescale.UTC
    shifts_ns: Mapping[Timescale, int | None] = field(default_factory=lambda: _NO_SHIFTS)
    rate: float = 0.0
    at_ns: int = 0

    def offers(self, timescale: int) -> bool:
        """Whether a client may ask for this one."""
        return timescale == self.served or timescale in self.shifts_ns

    def shift_ns(self, timescale: int, clock_ns: int) -> int | None:
        """How far it is ahead of ``served`` when the served clock reads ``clock_ns``; None when it is not known."""
        if timescale == self.served:
            return 0
        shift = next((shift for scale, shift in self.shifts_ns.items() if scale == timescale), None)
        return None if shift is None else shift + round((clock_ns - self.at_ns) * self.rate)

    def answer(self, wanted: int, clock_ns: int) -> tuple[Timescale, int]:
        """The timescale of an answer, and its shift: the wanted one, else that of the served clock."""
        shift = self.shift_ns(wanted, clock_ns)
        return (self.served, 0) if shift is None else (Timescale(wanted), shift)

    def lasting(self, timescale: Timescale) -> bool:
        """Whether the shift of a timestamp of a while ago, since when nothing has ``turned``, was that of now."""
        return timescale is self.served or not self.rate

    def turned(self, before: Scales) -> bool:
        """Whether the shifts are others than ``before``, or grow otherwise."""
        return self.rate != before.rate or (not self.rate and self.shifts_ns != before.shifts_ns)


def scales_at(
    table: LeapTable,
    utc: Instant[Utc],
    *,
    ahead: Duration | None = None,
    rate: float = 0.0,
    ut1: int | None = None,
) -> Scales:
    """The timescales at a moment; to be made anew at least each second around a leap second.

    Args:
        table: TAI - UTC.
        utc: Now.
        ahead: How far the served clock is ahead of UTC when it is smeared; None when it is not.
        rate: How fast ``ahead`` grows, seconds per second.
        ut1: UT1 - UTC in ns, from the bulletins of IERS; None when it is not known, and UT1 not offered.
    """
    shifts: dict[Timescale, int | None] = {}
    back = 0 if ahead is None else -ahead.ns()
    vague = table.ambiguous(utc)
    if ahead is not None:
        shifts[Timescale.UTC] = None if vague else back
    shifts[Timescale.TAI] = None if vague else table.tai_utc(utc) * NS_PER_S + back
    if ut1 is not None:
        shifts[Timescale.UT1] = None if vague else ut1 + back
    if ahead is None:
        return Scales(Timescale.UTC, shifts)
    return Scales(Timescale.SMEARED, shifts, -rate / (1 + rate), utc.ns() - back if rate else 0)


@dataclass(frozen=True, slots=True)
class Monotonic:
    """A clock of the server whose frequency is right and whose phase nobody corrects.

    Attributes:
        epoch: Random, and another one after each start or step of it: 32 bits.
        map: From kernel time to its reading, in ns.
    """

    epoch: int
    map: ServingMap


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What is told beside the ``ServeState``.

    Attributes:
        poll: Shortest poll interval for clients, log2 s.
        versions: NTP versions that are answered.
        references: The filter to hand out (``served_filter``); None: nobody asks us for the time we got from others.
        scales: Timescales.
        monotonic: For the transfer of frequency; None: not offered.
        leap: What is announced at the end of the month to who is told a timescale that is not smeared; None: as the
            ``ServeState`` has it, which of a server that smears is nothing.
    """

    poll: int = 0
    versions: frozenset[int] = frozenset({4, 5})
    references: BloomFilter | None = None
    scales: Scales = field(default_factory=Scales)
    monotonic: Monotonic | None = None
    leap: Leap | None = None
