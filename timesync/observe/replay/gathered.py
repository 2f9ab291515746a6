"""Measurements of a recording, gathered for the reference: those of a second together, so that a day stays small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from timesync.base.measure import Measurement
from timesync.base.time import UNITS_PER_S, Duration, Instant
from timesync.observe.replay.reference import Sighting
from timesync.servo.clock_model import Source
from timesync.servo.ledger import Ledger

_LEAST_VARIANCE: Final = 1e-20


@dataclass(slots=True)
class _Second:
    """Measurements that came within a second: their means."""

    began: int
    free: int
    offset: int
    delay_s: float | None
    noise_s: float
    count: int = 1


class Gathered:
    """What one source said of the free clock in one stretch of a recording.

    Attributes:
        count: Measurements.
    """

    def __init__(self, source: Source) -> None:
        self.count = 0
        self._source = source
        self._seconds: list[_Second] = []

    def add(self, m: Measurement, ledger: Ledger) -> None:
        """A measurement; ``ledger`` is that of what was done to the clock."""
        self.count += 1
        free = ledger.free(m.at).scaled_ns
        offset = (m.offset - self._source.spec.correction - ledger.adjustment(m.at)).scaled_ns
        delay_s = None if m.delay is None or m.averaged else m.delay.s()
        last = self._seconds[-1] if self._seconds else None
        if last is None or not 0 <= free - last.began < UNITS_PER_S or (last.delay_s is None) != (delay_s is None):
            self._seconds.append(_Second(free, free, offset, delay_s, m.noise_s))
            return
        last.count += 1
        last.free += (free - last.free) // last.count
        last.offset += (offset - last.offset) // last.count
        if last.delay_s is not None and delay_s is not None:
            last.delay_s += (delay_s - last.delay_s) / last.count

    def sightings(self) -> list[Sighting]:
        """All of it, weighed by what was known of the link in the end: at first nothing is."""
        model = self._source.tracker.model
        least = model.minimum_delay_s
        found = []
        for one in self._seconds:
            excess = 0.0 if one.delay_s is None or least is None else max(one.delay_s - least, 0.0)
            variance = max(model.variance(excess), one.noise_s**2, _LEAST_VARIANCE) / one.count
            found.append(Sighting(Instant(one.free), Duration(one.offset), variance))
        return found
