"""What an NTPv5 server tells beside the ``ServeState`` of all versions: timescales, reference ids, shortest poll."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from timesync.base.measure import Leap
from timesync.base.serving import ServingMap
from timesync.base.time import NS_PER_S, Duration, Instant, Utc
from timesync.base.utc import DAY_S, LeapTable, civil
from timesync.ntp.serve_state import UNSYNCHRONIZED_STRATUM, ServeState
from timesync.ntp.v5.bloom import BloomFilter
from timesync.wire.ntp import Mode
from timesync.wire.ntp5 import Flag, Ntp5Packet, Timescale, time32_from_duration

LEAP_NOTICE_DAYS: Final = 14
"""A leap second is announced so many days before, and not all month long as in older versions."""

_ONE_SECOND: Final = 1 << 28
_MONTH_LATER: Final = 31
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


def announced(leap: Leap, utc_ns: int) -> Leap:
    """What to announce at this UTC of a leap second that comes at the end of the month."""
    if leap not in (Leap.INSERT, Leap.DELETE):
        return leap
    day = utc_ns // (DAY_S * NS_PER_S)
    first = civil(day)[:2]
    left = next(n for n in range(1, _MONTH_LATER + 1) if civil(day + n)[:2] != first)
    return leap if left <= LEAP_NOTICE_DAYS else Leap.NONE


def header(state: ServeState, serving: Serving, timescale: Timescale, utc_ns: int, mono_ns: int) -> Ntp5Packet:
    """An answer without cookies and timestamps: what is said of the clock, with its dispersion of now.

    Args:
        state: As published last.
        serving: Likewise.
        timescale: Of the answer.
        utc_ns: The served clock.
        mono_ns: Monotonic time, on the scale of ``ServeState.at``.
    """
    live = state.synchronized and 1 <= state.stratum < UNSYNCHRONIZED_STRATUM and mono_ns < state.valid_until.ns()
    if not live:
        # As in version 4: a whole second of delay and dispersion, so that who ignores the flag keeps away.
        return Ntp5Packet(
            leap=Leap.UNKNOWN,
            mode=Mode.SERVER,
            poll=serving.poll,
            precision=state.precision,
            root_delay=_ONE_SECOND,
            root_dispersion=_ONE_SECOND,
            timescale=timescale,
        )
    age_s = max(mono_ns - state.at.ns(), 0) / NS_PER_S
    return Ntp5Packet(
        leap=Leap.NONE if timescale is Timescale.SMEARED else announced(state.leap, utc_ns),
        mode=Mode.SERVER,
        stratum=state.stratum,
        poll=serving.poll,
        precision=state.precision,
        root_delay=time32_from_duration(state.root_delay),
        root_dispersion=time32_from_duration(state.root_dispersion + Duration.from_s(age_s * state.dispersion_rate)),
        timescale=timescale,
        flags=Flag.SYNCHRONIZED,
    )
