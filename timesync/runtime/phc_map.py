"""How a hardware clock and CLOCK_REALTIME go together, from readings of both: a line through the recent ones.

Only whole nanoseconds, and no clock is read here. A moment between two readings is interpolated, so that an error of
the rate does not enter; for one right after the last the learnt rate is used.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque

from timesync_drivers.cross import CrossReading

NS_PER_S = 1_000_000_000
HISTORY_NS = 16 * NS_PER_S
"""How old a stamp may be."""
NEAR_NS = 20_000_000
"""A moment so soon after a reading needs no new one, once the rate is known."""
_LONGEST = 128
_SPAN_NS = NS_PER_S // 2
"""A rate is not taken from readings that are nearer to each other: their windows would spoil it."""
_SURE_NS = 4 * NS_PER_S
"""A rate from readings so far apart counts in full, one from nearer ones in proportion."""


class PhcMap:
    """Recent readings of a hardware clock beside CLOCK_REALTIME, none of them from before a step of either."""

    def __init__(self) -> None:
        self._readings: deque[CrossReading] = deque(maxlen=_LONGEST)
        self._rate = 1.0
        self._known = False
        self._changed_ns: int | None = None

    @property
    def newest(self) -> CrossReading | None:
        """The last reading that was added."""
        return self._readings[-1] if self._readings else None

    @property
    def rate(self) -> float:
        """Seconds of the hardware clock per second of CLOCK_REALTIME; 1 before it is known."""
        return self._rate

    @property
    def known(self) -> bool:
        """Whether the rate has been learnt."""
        return self._known

    def covers(self, system_ns: int) -> bool:
        """Whether a moment needs no further reading to be placed well."""
        newest = self.newest
        return newest is not None and system_ns <= newest.system_ns + (NEAR_NS if self._known else 0)

    def add(self, reading: CrossReading) -> None:
        """Take a reading. One that is not later than the last on both clocks starts anew: something was stepped."""
        newest = self.newest
        if newest is not None and (
            reading.system_ns <= newest.system_ns or reading.device_ns + reading.half_window_ns < newest.device_ns
        ):
            self.clear()
        self._readings.append(reading)
        while reading.system_ns - self._readings[0].system_ns > HISTORY_NS:
            self._readings.popleft()
        self._learn()

    def rate_changed(self, by: float) -> None:
        """The hardware clock runs faster by so much (a ratio) from the newest reading on."""
        self._rate += by
        newest = self.newest
        self._changed_ns = None if newest is None else newest.system_ns

    def clear(self) -> None:
        """One of the clocks was stepped: what was read no longer holds, but the rate does."""
        self._readings.clear()
        self._changed_ns = None

    def device_at(self, system_ns: int) -> int | None:
        """What the hardware clock showed when CLOCK_REALTIME showed ``system_ns``; None when too far from readings."""
        if not self._readings:
            return None
        first, last = self._readings[0], self._readings[-1]
        # Before the first reading there may have been a step.
        if not first.system_ns <= system_ns <= last.system_ns + NEAR_NS:
            return None
        if system_ns >= last.system_ns:
            return last.device_ns + self._device_span(system_ns - last.system_ns)
        index = bisect_right(self._readings, system_ns, key=lambda one: one.system_ns)
        before, after = self._readings[index - 1], self._readings[index]
        span = after.system_ns - before.system_ns
        gone = after.device_ns - before.device_ns
        return before.device_ns + (2 * (system_ns - before.system_ns) * gone + span) // (2 * span)

    def _device_span(self, system_span_ns: int) -> int:
        return system_span_ns + round(system_span_ns * (self._rate - 1.0))

    def _learn(self) -> None:
        """The rate from the oldest to the newest reading since it was last changed."""
        since = self._changed_ns
        oldest = next(one for one in self._readings if since is None or one.system_ns >= since)
        newest = self._readings[-1]
        span = newest.system_ns - oldest.system_ns
        if span >= _SPAN_NS:
            gone = newest.device_ns - oldest.device_ns
            seen = 1.0 + (gone - span) / span
            self._rate += (seen - self._rate) * (min(1.0, span / _SURE_NS) if self._known else 1.0)
            self._known = True
