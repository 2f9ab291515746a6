"""How far a clock may run away on its own: learnt from what its frequency did while it could be watched.

The estimator knows noise and a random walk. What a crystal does besides (temperature, ageing, a draught) no model of
one sample to the next shows, but an hour beside a good reference does.
"""

from __future__ import annotations

import math
from collections import deque

from timesync.servo.thermal import Thermal

UNMODELLED = 1e-6
"""Growth of every error bound in seconds per second before anything is known; chrony's ``maxclockerror`` is alike."""

_LEAST = 1e-8
"""No crystal is believed to be better than this for an hour."""

_HOUR_S = 3600.0
_HOURS = 24
_ENOUGH = 3
_MARGIN = 2.0


class Roaming:
    """The largest change of a clock's frequency within an hour, over the last day.

    Only hours count in which the clock was watched from end to end.
    """

    def __init__(self) -> None:
        self._ranges: deque[float] = deque(maxlen=_HOURS)
        self._since: float | None = None
        self._last = 0.0
        self._low = self._high = 0.0

    def observe(self, at_s: float, frequency: float, deviation: float) -> None:
        """Take in the estimated frequency (a ratio) and its standard deviation, ``at_s`` seconds after some start.

        To be called while the clock is locked, at least once every few minutes.
        """
        if deviation >= UNMODELLED:
            # An estimate that is itself uncertain must not make the clock look restless, nor calm.
            return
        if self._since is None or at_s - self._last > _HOUR_S / 4:
            # Not watched in between: whatever it did there is unknown.
            self._since, self._low, self._high = at_s, frequency, frequency
        self._last = at_s
        self._low = min(self._low, frequency)
        self._high = max(self._high, frequency)
        if at_s - self._since >= _HOUR_S:
            self._ranges.append(self._high - self._low)
            self._since, self._low, self._high = at_s, frequency, frequency

    def lost(self) -> None:
        """Nothing watches the clock any more: the hour that was begun does not count."""
        self._since = None

    @property
    def growth(self) -> float:
        """How fast an error bound must grow apart from what the estimator knows, in seconds per second."""
        if len(self._ranges) < _ENOUGH:
            return UNMODELLED
        return min(max(_MARGIN * max(self._ranges), _LEAST), UNMODELLED)


class Habits:
    """What is learnt of one clock for the time without a reference: how far it roams, and what warmth does to it."""

    def __init__(self, celsius: float | None = None, slope: float = 0.0, deviation: float = math.inf) -> None:
        """Start from what was remembered: at which temperature, the slope per degree and its deviation."""
        self.roaming = Roaming()
        self.thermal = Thermal(slope, deviation)
        self.celsius: float | None = None
        self._reference = celsius
        self._slope = self.thermal.slope

    def warmed(self, at_s: float, celsius: float, frequency: float | None) -> tuple[float, float]:
        """Take in a temperature, with the whole frequency where the clock is locked.

        Returns:
            By how much a better slope changes what is ascribed to the temperature so far, and what is ascribed to
            it from now on; ratios.
        """
        if self._reference is None:
            self._reference = celsius
        before = self._reference if self.celsius is None else self.celsius
        relearnt = 0.0
        if frequency is None:
            self.thermal.lost()
        elif self.thermal.observe(at_s, celsius, frequency):
            slope = self.thermal.slope
            relearnt = (slope - self._slope) * (before - self._reference)
            self._slope = slope
        self.celsius = celsius
        return relearnt, self._slope * (celsius - self._reference)
