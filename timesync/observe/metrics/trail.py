"""What only several states together tell."""

from __future__ import annotations

import math

from timesync.observe.metrics.table import Message, Trail

_LONG = 600
"""So many states, of one second each, are what a long-term average is made of."""


class TrailKeeper:
    """Remembers as much of the states that went by as is needed."""

    def __init__(self) -> None:
        self._mean_square: float | None = None
        self._count = 0
        self._updated_ns: int | None = None
        self._interval_s: float | None = None

    def take(self, state: Message) -> None:
        """One more state."""
        status = state["status"]
        served = next((clock for clock in status["clocks"] if clock["name"] == status["served_clock"]), None)
        if served is not None and served["offset_s"] is not None:
            self._average(served["offset_s"])
        updated_ns = status["updated_utc_ns"]
        if updated_ns is not None and updated_ns != self._updated_ns:
            if self._updated_ns is not None:
                self._interval_s = abs(updated_ns - self._updated_ns) / 1e9
            self._updated_ns = updated_ns

    def _average(self, offset_s: float) -> None:
        before = self._mean_square or 0.0
        self._count = min(self._count + 1, _LONG)
        self._mean_square = before + (offset_s**2 - before) / self._count

    @property
    def trail(self) -> Trail:
        """What there is to know."""
        rms = None if self._mean_square is None else math.sqrt(self._mean_square)
        return Trail(rms, self._interval_s)
