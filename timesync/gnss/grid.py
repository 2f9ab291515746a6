"""The grid on which the pulses of one receiver fall, as the local clock sees it.

Works on plain integers in 2^-16 ns of the *free* clock, the one that steering does not move, so that a slew does not
bend the grid.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from itertools import combinations

from timesync.base.time import UNITS_PER_S

FLOOR_S = 1e-6
"""No pulse is called wild for less: an interrupt is late by as much on any machine."""

MOST_RATE = 6e-3
"""A cold crystal at 500 ppm under a slew of 5000 ppm that nobody told us of, and some reserve."""

_GATE = 8.0
_UNMODELLED = 2e-6
"""What the frequency of a free crystal may change between two pulses, a ratio."""

_YOUNG = 8
"""Residuals before their spread says much; also the memory of the filter, in pulses."""

_YOUNG_FLOOR_S = 2e-5
_CLIP = 3.0
"""A residual is learnt as at most so many gates: jitter that grew is followed, a wild pulse teaches nothing."""

_HISTORY = 32
_AGREEMENT = 2e-3
"""How far two intervals that make a new grid may differ, a ratio."""

_NORMAL = 1.4826
"""From the median absolute deviation to the standard deviation of a normal law."""

_PREDICTED = 1.195
"""Standard deviation of the filter's innovations over that of the pulses, for its steady gains and white jitter."""


class Grid:
    """Where the pulses of full seconds fall: phase, frequency and jitter, learnt.

    Attributes:
        index: Number of the newest pulse on the grid; only differences count.
        last: The newest pulse that was taken, in units of the free clock.
    """

    def __init__(self, stamps: Sequence[int], frequency: float, spread_s: float) -> None:
        """Start from pulses that agree; the newest is the last.

        Args:
            stamps: Their readings of the free clock.
            frequency: How much longer than a second their interval is, a ratio.
            spread_s: How far they are off a common interval.
        """
        self.index = 0
        self.last = stamps[-1]
        self._base = stamps[-1]
        self._frequency = frequency
        self._taken = len(stamps)
        self._residuals: deque[float] = deque([abs(spread_s)], maxlen=_HISTORY)
        self._spread = _NORMAL * abs(spread_s)

    @property
    def jitter_s(self) -> float | None:
        """One standard deviation of a pulse, robust against wild ones; None before enough have come."""
        return None if len(self._residuals) < _YOUNG else self._spread / _PREDICTED

    def place(self, stamp: int) -> tuple[int, float]:
        """The nearest place on the grid: seconds after the newest pulse, and how late the stamp is there, in s."""
        elapsed = (stamp - self._base) / UNITS_PER_S
        interval = 1 + self._frequency
        count = round(elapsed / interval)
        return count, elapsed - count * interval

    def gate_s(self, count: int) -> float:
        """How far from its place a pulse may be, ``count`` seconds after the newest one."""
        gate = max(FLOOR_S, _GATE * self._spread)
        if len(self._residuals) < _YOUNG:
            gate = max(3 * gate, _YOUNG_FLOOR_S)
        return gate + _UNMODELLED * abs(count)

    def take(self, stamp: int, count: int, residual_s: float) -> None:
        """A pulse is where it should be: follow it, by the gains of a line fitted through the last few."""
        self._taken += 1
        n = min(self._taken, _YOUNG)
        alpha = 2 * (2 * n - 1) / (n * (n + 1))
        beta = 6 / (n * (n + 1))
        ahead = count * (1 + self._frequency) + alpha * residual_s
        self._base += round(ahead * UNITS_PER_S)
        self._frequency += beta * residual_s / count
        self.index += count
        self.last = stamp
        self.learn(residual_s, count)

    def learn(self, residual_s: float, count: int) -> None:
        """Take in how far a pulse was off, whether it was taken or not."""
        self._residuals.append(min(abs(residual_s), _CLIP * self.gate_s(count)))
        ordered = sorted(self._residuals)
        middle = len(ordered) // 2
        median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
        self._spread = _NORMAL * median


def find_grid(stamps: Sequence[int]) -> Grid | None:
    """A grid that the newest stamp makes with two earlier ones, by the best agreement; None when none do.

    Args:
        stamps: Readings of the free clock at each edge, oldest first, wild and doubled ones among them.
    """
    newest = stamps[-1]
    best: tuple[float, Grid] | None = None
    for first, second in combinations(stamps[:-1], 2):
        early, late = _interval(first, second), _interval(second, newest)
        if early is None or late is None:
            continue
        (early_count, early_rate), (late_count, late_rate) = early, late
        apart = abs(early_rate - late_rate)
        if apart > _AGREEMENT or (best is not None and apart >= best[0]):
            continue
        total = early_count + late_count
        frequency = (early_rate * early_count + late_rate * late_count) / total
        spread = apart * early_count * late_count / total
        best = apart, Grid((first, second, newest), frequency, spread / math.sqrt(1.5))
    return None if best is None else best[1]


def _interval(first: int, second: int) -> tuple[int, float] | None:
    """Whole seconds between two edges and the frequency error that they imply; None when they share no grid."""
    elapsed = (second - first) / UNITS_PER_S
    count = round(elapsed)
    if count < 1:
        return None
    rate = elapsed / count - 1
    return None if abs(rate) > MOST_RATE else (count, rate)
