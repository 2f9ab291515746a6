"""What the last measurements and corrections looked like: for display, never for a decision."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from timesync.base.time import Duration, Instant, Mono, Tai

POINTS: Final = 64
"""As many as chronyd regards at most."""

_SHARE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement.

    Attributes:
        offset: Clock minus source, as it was measured.
        free: What the free clock read then.
        adjustment: What steering had added to it by then.
    """

    offset: Duration
    free: Instant[Tai]
    adjustment: Duration


class Recent:
    """The last measurements of a source.

    Attributes:
        last: The last one; None before the first.
    """

    def __init__(self) -> None:
        self.last: Point | None = None
        self._points: deque[tuple[Instant[Mono], bool]] = deque(maxlen=POINTS)

    def add(self, point: Point, innovation_s: float, now: Instant[Mono]) -> None:
        """One more, which was off by ``innovation_s`` from what was expected."""
        self.last = point
        self._points.append((now, innovation_s > 0))

    @property
    def points(self) -> int:
        """How many are regarded."""
        return len(self._points)

    @property
    def runs(self) -> int:
        """Groups of them in a row on one side of what was expected: few for their number mean that it lags."""
        sides = [side for _, side in self._points]
        return bool(sides) + sum(one is not other for one, other in pairwise(sides))

    @property
    def span_s(self) -> float:
        """From the first to the last."""
        return (self._points[-1][0] - self._points[0][0]).s() if self._points else 0.0


class Updates:
    """The last corrections of a clock.

    Attributes:
        offset_s: What was corrected at the last one; None before any.
        interval_s: Between the last two.
    """

    def __init__(self) -> None:
        self.offset_s: float | None = None
        self.interval_s = 0.0
        self._mean_square = 0.0
        self._last: Instant[Mono] | None = None

    def add(self, offset_s: float, now: Instant[Mono]) -> None:
        """One more."""
        square = offset_s * offset_s
        self._mean_square += (square - self._mean_square) * (1.0 if self.offset_s is None else _SHARE)
        self.offset_s = offset_s
        if self._last is not None:
            self.interval_s = (now - self._last).s()
        self._last = now

    @property
    def rms_s(self) -> float:
        """Quadratic mean of the offsets; older ones count less and less."""
        return math.sqrt(self._mean_square)
