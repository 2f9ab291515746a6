"""What an NTPv5 server tells beside what all versions do: timescales, reference ids, shortest poll."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

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
    """

    served: Timescale = Timescale.UTC
    shifts_ns: Mapping[Timescale, int | None] = field(default_factory=lambda: _NO_SHIFTS)

    def offers(self, timescale: int) -> bool:
        """Whether a client may ask for this one."""
        return timescale == self.served or timescale in self.shifts_ns

    def shift_ns(self, timescale: int) -> int | None:
        """How far it is ahead of ``served``; None when it is not known."""
        if timescale == self.served:
            return 0
        return next((shift for scale, shift in self.shifts_ns.items() if scale == timescale), None)

    def answer(self, wanted: int) -> tuple[Timescale, int]:
        """The timescale of an answer, and its shift: the wanted one, else that of the served clock."""
        shift = self.shift_ns(wanted)
        return (self.served, 0) if shift is None else (Timescale(wanted), shift)


def scales_at(
    table: LeapTable,
    utc: Instant[Utc],
    *,
    ahead: Duration | None = None,
    smearing: bool = False,
    ut1: int | None = None,
) -> Scales:
    """The timescales at a moment; to be made anew at least each second around a leap second.

    Args:
        table: TAI - UTC.
        utc: Now.
        ahead: How far the served clock is ahead of UTC when it is smeared; None when it is not.
        smearing: A smear is under way: what is not smeared cannot be told to the nanosecond then.
        ut1: UT1 - UTC in ns, from the bulletins of IERS; None when it is not known, and UT1 not offered.
    """
    shifts: dict[Timescale, int | None] = {}
    back = 0 if ahead is None else -ahead.ns()
    vague = smearing or table.ambiguous(utc)
    if ahead is not None:
        shifts[Timescale.UTC] = None if vague else back
    shifts[Timescale.TAI] = None if vague else table.tai_utc(utc) * NS_PER_S + back
    if ut1 is not None:
        shifts[Timescale.UT1] = None if vague else ut1 + back
    return Scales(Timescale.UTC if ahead is None else Timescale.SMEARED, shifts)


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
    """

    poll: int = 0
    versions: frozenset[int] = frozenset({4, 5})
    references: BloomFilter | None = None
    scales: Scales = field(default_factory=Scales)
    monotonic: Monotonic | None = None
