"""What temperature does to a crystal, learnt while the clock is locked and used always, most of all in holdover.

Frequency is regressed on temperature by differences: a crystal's own random walk then is white noise and cannot pass
for an effect of temperature, as it would if the two were compared directly. A difference is taken when it has moved
enough to be seen above the sensor's noise, be it within minutes by a fan or within hours by the sun; the walk's
variance grows with the time that took, and so the weight of the difference shrinks.
"""

from __future__ import annotations

import math

_LEAST_S = 300.0
"""A sensor and a crystal do not feel a change at the same moment."""

_LONGEST_S = 7200.0
_UNWATCHED_S = 1200.0
_MOVED_C = 0.5
_MEMORY_S = 86_400.0
"""Time after which a difference's say has fallen to 1/e."""

_ENOUGH = 12
_SIGNIFICANT = 4.0
_STEEPEST = 5e-6
"""No crystal changes by more than this for one degree."""


class Thermal:
    """Frequency per degree of one clock."""

    def __init__(self, slope: float = 0.0, deviation: float = math.inf) -> None:
        """Start from what was remembered: ``slope`` as a ratio per degree, and its standard deviation."""
        self._remembered = (slope, deviation)
        self._last: tuple[float, float, float] | None = None
        self._seen = -math.inf
        self._n = self._sxx = self._sxy = self._syy = 0.0

    def observe(self, at_s: float, celsius: float, frequency: float) -> bool:
        """Take in the whole frequency error (a ratio) at a temperature, while locked; True when the slope moved."""
        watched, self._seen = at_s - self._seen <= _UNWATCHED_S, at_s
        if self._last is None or not watched:
            self._last = (at_s, celsius, frequency)
            return False
        since, before_c, before_f = self._last
        took = at_s - since
        moved = abs(celsius - before_c) >= _MOVED_C
        if took < _LEAST_S or (not moved and took < _LONGEST_S):
            return False
        self._last = (at_s, celsius, frequency)
        if not moved:
            return False
        x, y = celsius - before_c, frequency - before_f
        weight = _LEAST_S / took
        keep = math.exp(-took / _MEMORY_S)
        self._n = keep * self._n + 1
        self._sxx = keep * self._sxx + weight * x * x
        self._sxy = keep * self._sxy + weight * x * y
        self._syy = keep * self._syy + weight * y * y
        return True

    def lost(self) -> None:
        """The clock is not locked: the next difference would not be of its own frequency."""
        self._last = None

    @property
    def learnt(self) -> tuple[float, float]:
        """Slope and its standard deviation, from this run's differences and what was remembered."""
        slope, deviation = self._remembered
        if self._n < _ENOUGH:
            return slope, deviation
        fitted = self._sxy / self._sxx
        residual = max(self._syy - fitted * self._sxy, 0.0) / max(self._n - 1, 1.0)
        spread = math.sqrt(residual / self._sxx)
        if math.isinf(deviation):
            return fitted, spread
        ours, theirs = 1 / (spread * spread + 1e-30), 1 / (deviation * deviation + 1e-30)
        return (fitted * ours + slope * theirs) / (ours + theirs), math.sqrt(1 / (ours + theirs))

    @property
    def slope(self) -> float:
        """Ratio per degree; 0 while it cannot be told from nothing."""
        slope, deviation = self.learnt
        if math.isinf(deviation) or abs(slope) < _SIGNIFICANT * deviation:
            return 0.0
        return min(max(slope, -_STEEPEST), _STEEPEST)
