"""What temperature does to a crystal, learnt while the clock is locked and used always, most of all in holdover.

Frequency is regressed on temperature by differences over some minutes: a crystal's own random walk then is white noise
and cannot pass for an effect of temperature, as it would if the two were compared directly.
"""

from __future__ import annotations

import math

_SPACING_S = 300.0
_MEMORY = 288.0
"""Differences after which one's say has fallen to 1/e: a day."""

_ENOUGH = 12
_SIGNIFICANT = 4.0
_SPREAD_C = 0.15
"""Differences of temperature below this (root mean square) say nothing but the sensor's own noise."""

_STEEPEST = 5e-6
"""No crystal changes by more than this for one degree."""


class Thermal:
    """Frequency per degree of one clock."""

    def __init__(self, slope: float = 0.0, deviation: float = math.inf) -> None:
        """Start from what was remembered: ``slope`` as a ratio per degree, and its standard deviation."""
        self._remembered = (slope, deviation)
        self._last: tuple[float, float, float] | None = None
        self._n = self._sxx = self._sxy = self._syy = 0.0

    def observe(self, at_s: float, celsius: float, frequency: float) -> bool:
        """Take in the whole frequency error (a ratio) at a temperature, while locked; True when the slope moved."""
        if self._last is None:
            self._last = (at_s, celsius, frequency)
            return False
        since, before_c, before_f = self._last
        if at_s - since < _SPACING_S:
            return False
        self._last = (at_s, celsius, frequency)
        if at_s - since > 4 * _SPACING_S:
            return False
        x, y = celsius - before_c, frequency - before_f
        keep = 1 - 1 / _MEMORY
        self._n = keep * self._n + 1
        self._sxx = keep * self._sxx + x * x
        self._sxy = keep * self._sxy + x * y
        self._syy = keep * self._syy + y * y
        return True

    def lost(self) -> None:
        """The clock is not locked: the next difference would not be of its own frequency."""
        self._last = None

    @property
    def learnt(self) -> tuple[float, float]:
        """Slope and its standard deviation, from this run's differences and what was remembered."""
        slope, deviation = self._remembered
        if self._n < _ENOUGH or self._sxx < self._n * _SPREAD_C**2:
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
