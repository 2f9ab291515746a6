"""Which quantization error belongs to which pulse.

A receiver puts its pulse on the nearest tick of its own oscillator and tells the difference: UBX-TIM-TP speaks of
the *next* pulse, and names its second when it can.
"""

from __future__ import annotations

from timesync.base.time import UNITS_PER_S, ZERO, Duration, Instant, Mono, Tai
from timesync.base.utc import LeapTable
from timesync.gnss.event import Sawtooth

_MOST = Duration.from_ns(1_000)
"""No receiver quantizes more coarsely; what claims to is wrong."""

_VALID = Duration.from_s(2)
_KEPT = 4


class SawtoothBook:
    """Keeps the latest corrections until their pulses come."""

    def __init__(self, table: LeapTable) -> None:
        self.table = table
        self.applied = 0
        self.refused = 0
        self._by_second: dict[int, Duration] = {}
        self._next: tuple[Duration, Instant[Mono]] | None = None

    def heard(self, sawtooth: Sawtooth, now: Instant[Mono]) -> None:
        """A receiver told the error of a pulse to come."""
        if abs(sawtooth.correction) > _MOST:
            self.refused += 1
            return
        if sawtooth.second is None or self.table.ambiguous(sawtooth.second):
            self._next = sawtooth.correction, now
            return
        second = _nearest(self.table.tai(sawtooth.second))
        self._by_second.pop(second, None)
        self._by_second[second] = sawtooth.correction
        while len(self._by_second) > _KEPT:
            del self._by_second[next(iter(self._by_second))]

    def clear(self) -> None:
        """The pulses to come are of another receiver."""
        self._by_second.clear()
        self._next = None

    def take(self, second: Instant[Tai], now: Instant[Mono]) -> Duration:
        """The correction of the pulse that marks this second: true edge minus nominal one; zero when none is known.

        One without a second is given to the first pulse after it, and only once.
        """
        found = self._by_second.pop(_nearest(second), None)
        unnamed, self._next = self._next, None
        if found is None and unnamed is not None and now - unnamed[1] <= _VALID:
            found = unnamed[0]
        if found is None:
            return ZERO
        self.applied += 1
        return found


def _nearest(at: Instant[Tai]) -> int:
    return (at.scaled_ns + UNITS_PER_S // 2) // UNITS_PER_S
