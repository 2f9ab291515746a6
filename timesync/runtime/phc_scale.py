"""Which timescale a hardware clock holds: TAI, as PTP wants it, or UTC, as some other programs leave it."""

from __future__ import annotations

from typing import Literal

from timesync.base.time import NS_PER_S, Duration, Instant, Tai, Utc
from timesync.base.utc import LeapTable

Timescale = Literal["tai", "utc"]
_NEAR_LEAP = Duration.from_s(5)


class PhcScale:
    """Turns readings of a hardware clock into TAI.

    A clock that holds UTC goes on counting through a leap second and must be stepped then: until that is done the
    old TAI - UTC belongs to it, so its TAI is right all the time.
    """

    def __init__(self, timescale: Timescale, table: LeapTable) -> None:
        self._utc = timescale == "utc"
        self._table = table
        self._offset_s = 0

    def settle(self, reading_ns: int) -> None:
        """The clock was set to this reading: take the TAI - UTC of that date."""
        if self._utc:
            self._offset_s = self._table.tai_utc(Instant.from_ns(reading_ns))

    def tai(self, reading_ns: int) -> Instant[Tai]:
        """The TAI that a reading means."""
        return Instant.from_ns(reading_ns + self._offset_s * NS_PER_S)

    def reading_ns(self, tai: Instant[Tai]) -> int:
        """What the clock must be set to in order to mean that TAI; ``settle`` with it afterwards."""
        return self._table.utc(tai).ns() if self._utc else tai.ns()

    def due_s(self, reading_ns: int) -> int:
        """By how many seconds a clock that holds UTC must be stepped because a leap second has come."""
        if not self._utc:
            return 0
        return self._offset_s - self._offset(self.tai(reading_ns))

    def leap_step_s(self, reading_ns: int) -> int:
        """By how many seconds others step such a clock at a leap second within 5 s; 0 when there is none."""
        if not self._utc:
            return 0
        tai = self.tai(reading_ns)
        step = self._offset(tai - _NEAR_LEAP) - self._offset(tai + _NEAR_LEAP)
        return step if self._offset_s == self._offset(tai - _NEAR_LEAP) else 0

    def leapt(self, by_s: int) -> None:
        """The clock was stepped by so much for a leap second."""
        self._offset_s -= by_s

    def _offset(self, tai: Instant[Tai]) -> int:
        utc: Instant[Utc] = self._table.utc(tai)
        return (tai.scaled_ns - utc.scaled_ns) // Duration.from_s(1).scaled_ns
