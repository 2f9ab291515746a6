"""The header of an NTPv5 answer: what is said of the clock (draft-ietf-ntp-ntpv5-07, "Message Format")."""

from __future__ import annotations

from typing import Final

from timesync.base.measure import Leap
from timesync.base.time import NS_PER_S, Duration
from timesync.base.utc import DAY_S, civil
from timesync.ntp.serve_state import UNSYNCHRONIZED_STRATUM, ServeState
from timesync.ntp.v5.serving import Serving
from timesync.wire.ntp import Mode
from timesync.wire.ntp5 import Flag, Ntp5Packet, Timescale, time32_from_duration

LEAP_NOTICE_DAYS: Final = 14
"""A leap second is announced so many days before, and not all month long as in older versions."""

_ONE_SECOND: Final = 1 << 28
_MONTH_LATER: Final = 31


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
    leap = state.leap if serving.leap is None else serving.leap
    age_s = max(mono_ns - state.at.ns(), 0) / NS_PER_S
    return Ntp5Packet(
        leap=Leap.NONE if timescale is Timescale.SMEARED else announced(leap, utc_ns),
        mode=Mode.SERVER,
        stratum=state.stratum,
        poll=serving.poll,
        precision=state.precision,
        root_delay=time32_from_duration(state.root_delay),
        root_dispersion=time32_from_duration(state.root_dispersion + Duration.from_s(age_s * state.dispersion_rate)),
        timescale=timescale,
        flags=Flag.SYNCHRONIZED,
    )
