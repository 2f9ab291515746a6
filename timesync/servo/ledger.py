"""What we did to a clock, so that it can be taken out again.

A steered clock is the sum of two things: the clock that would be if nobody had touched it (the *free* clock,
an oscillator that counts), and our adjustments. Estimators work on the free clock only; steering therefore
never disturbs them, and a step costs no sample but those under way. What temperature is known to do to the
oscillator is taken out alike.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from timesync.base.rate import Rate
from timesync.base.time import ZERO, Duration, Instant, Tai

_KEPT = 256


@dataclass(frozen=True, slots=True)
class _Entry:
    """From ``since`` (a reading of the clock) on, the adjustment grows by ``growth`` per second of the clock."""

    since: Instant[Tai]
    epoch: int
    adjustment: Duration
    rate: float
    growth: float
    environment: float


class Ledger:
    """The adjustments of one clock, as a piecewise linear function of its own reading.

    Attributes:
        last_step: By how much it was last set forward; zero before, and where that is not known.
    """

    def __init__(self, at: Instant[Tai], epoch: int, rate: Rate) -> None:
        """Start at reading ``at``, with ``rate`` already in force."""
        self._entries: deque[_Entry] = deque(maxlen=_KEPT)
        self._append(at, epoch, ZERO, rate.ratio)
        self.last_step = ZERO

    def _append(
        self, at: Instant[Tai], epoch: int, adjustment: Duration, rate: float, environment: float = 0.0
    ) -> None:
        self._entries.append(_Entry(at, epoch, adjustment, rate, rate / (1 + rate) + environment, environment))

    @property
    def rate(self) -> Rate:
        """The frequency adjustment in force."""
        return Rate(self._entries[-1].rate)

    @property
    def environment(self) -> float:
        """What the oscillator is known to gain by its temperature, a ratio."""
        return self._entries[-1].environment

    @property
    def epoch(self) -> int:
        """The epoch of the clock after the last known step."""
        return self._entries[-1].epoch

    def _entry(self, at: Instant[Tai]) -> _Entry:
        for entry in reversed(self._entries):
            if entry.since <= at and entry.epoch == self.epoch:
                return entry
        for entry in self._entries:
            if entry.epoch == self.epoch:
                return entry
        return self._entries[-1]

    def adjustment(self, at: Instant[Tai]) -> Duration:
        """Steered minus free clock when the clock reads ``at`` (in its present epoch)."""
        entry = self._entry(at)
        return entry.adjustment + Duration(round((at - entry.since).scaled_ns * entry.growth))

    def free(self, at: Instant[Tai]) -> Instant[Tai]:
        """The reading of the free clock when the steered one reads ``at``."""
        return at - self.adjustment(at)

    def steered(self, rate: Rate, at: Instant[Tai]) -> None:
        """The frequency adjustment became ``rate`` when the clock read ``at``."""
        self._append(at, self.epoch, self.adjustment(at), rate.ratio, self.environment)

    def compensated(self, environment: float, at: Instant[Tai]) -> None:
        """The oscillator is known to gain ``environment`` (a ratio) from reading ``at`` on."""
        self._append(at, self.epoch, self.adjustment(at), self._entries[-1].rate, environment)

    def stepped(self, by: Duration, at: Instant[Tai], epoch: int) -> None:
        """The clock was set forward by ``by``; it read ``at`` just before, and its epoch is now ``epoch``."""
        rate = self._entries[-1].rate
        self.last_step = by
        self._append(at + by, epoch, self.adjustment(at) + by, rate, self.environment)
